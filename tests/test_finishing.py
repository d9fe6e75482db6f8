"""What the report says of arms that go on from words of their own."""

import math
from types import SimpleNamespace
from typing import Any

import pandas as pd

from unrolled.report.drawing import lines
from unrolled.tasks.language_model.evaluation.scores import OWN, TEXT
from unrolled.tasks.language_model.finishing import figures, section

GRID = [
    {"arm": f"{arch}-clipped-{seed}", "arch": arch, "clipping": "clipped", "seed": seed}
    for arch in ("rnn", "bilstm")
    for seed in (1, 2)
]
PERFECT = {"own_words_nats": 43.44, "forced_nats": 17.81, "forward_kl": 0.0, "reverse_kl": 0.0, "grammatical": 1.0,
           "grammatical_nats": 19.2, "own_tokens": 22.0, "prefix_price": 0.0, "own_agreement": 0.9,
           "finish_accuracy": 0.9, "greedy_accuracy": 1.0, "own_distance": 18.0}  # fmt: skip


def sentences(off: float) -> dict[str, pd.DataFrame]:
    rows = [
        {"figure": name, "sentences": 500, "value": best + off, "low": best, "high": best + 2 * off, "perfect": best}
        for name, best in PERFECT.items()
    ]
    place = pd.DataFrame({"first": [1, 2], "last": [1, 3], "own_prefixes": [500, 900], "own": [0.1, 0.2],
                          "own_error": [0.0, 0.01], "true_prefixes": [500, 900], "true": [0.1, 0.15],
                          "true_error": [0.0, 0.01]})  # fmt: skip
    bins = {"shortest": [1, 2, 4], "longest": [1, 3, math.inf]}
    distance = pd.DataFrame(bins | {"own_sentences": [300, 200, 0], "own": [0.9 - off, 0.5, math.nan]})
    return {"own_sentences": pd.DataFrame(rows), "own_by_place": place, "own_by_distance": distance}


def real(off: float) -> dict[str, pd.DataFrame]:
    table = pd.DataFrame({"of": [TEXT, OWN, OWN], "temperature": [math.nan, 0.5, 1.0], "lines": 40, "tokens": 400,
                          "unfinished": 0.0, "perplexity": [150.0, 30.0 + off, 200.0], "self_bleu": [0.3, 0.7, 0.1],
                          "copied": 0.01})  # fmt: skip
    ends = {"low": 20.0, "high": 300.0, "self_bleu_low": 0.05, "self_bleu_high": 0.8}
    return {"own_lines": table.assign(**ends, **{f"distinct_{n}": 0.5 for n in (1, 2, 4)})}


def comparison(*tables: dict[str, pd.DataFrame], lost: bool = False) -> Any:
    """An RNN of as many seeds, and a BiLSTM; or another RNN."""

    def arms(arch: str, found: Any) -> list[Any]:
        network = {"bidirectional": arch == "bilstm" and not lost}
        return [
            SimpleNamespace(
                name=f"{arch}-clipped-{seed}",
                evaluation=SimpleNamespace(tables=of_arm),
                run=SimpleNamespace(settings={"network": network}),
            )
            for seed, of_arm in enumerate(found, 1)
        ]

    made = {arch: arms(arch, found) for arch, found in (("rnn", tables), ("bilstm", [{}] * len(tables)))}
    every = [SimpleNamespace(name=f"{arch}-clipped", arms=of, told=of) for arch, of in made.items()]
    joined = section.tables([arm for of in made.values() for arm in of])
    return SimpleNamespace(configurations=every, evaluate={"ngram_order": 5}, tables=joined)


def drawn(compared: Any) -> dict[str, Any]:
    names = {row["arm"] for row in GRID}
    return {name: make() for name, make in figures.pictures(lines(GRID, dict.fromkeys(names, 0.25)), compared).items()}


def test_one_seed_has_its_interval_and_the_optimum_stands_below() -> None:
    (found,) = section.sections(comparison(sentences(0.1)))
    said, paid, distances = found.tables
    assert found.title == "Finishing the sentence"
    assert said[1][0][:3] == ["rnn-clipped", "110.0% [100.0%, 120.0%]", "19.30 [19.20, 19.40]"]
    assert [row[0] for row in paid[1]] == ["rnn-clipped", "*a perfect model*"]
    assert paid[1][1] == ["*a perfect model*", "0.000", "0.000", "17.81", "43.44", "+0.0 %"]
    assert distances[0][1:] == ["1", "2 to 3", "4 on"] and distances[1] == [["rnn-clipped", "0.80", "0.50", "none"]]
    text = " ".join(found.meaning)
    assert "43.44 nats a sentence, where true words read allow 17.81" in text and "rnn-clipped 43.54" in text
    assert "Not measured: bilstm-clipped, as a bidirectional network has no next word to say." in found.meaning
    assert "500 places" in text and "90.0%" in text


def test_what_a_perfect_model_reaches_is_a_range_where_arms_read_in_several_ways() -> None:
    """Carried on, or anew at each sentence: who knows less of what stands before one pays more."""
    anew = sentences(0.1)
    anew["own_sentences"].loc[anew["own_sentences"]["figure"] == "forced_nats", "perfect"] = 18.0
    (found,) = section.sections(comparison(sentences(0.1), anew))
    assert found.tables[1][1][-1] == [
        "*a perfect model*",
        "0.000",
        "0.000",
        "17.81 (17.81 to 18.00)",
        "43.44",
        "+0.0 %",
    ]


def test_a_bound_that_some_arms_alone_have_is_told_and_one_that_none_has_is_not_made_up() -> None:
    carried = sentences(0.1)
    carried["own_sentences"].loc[carried["own_sentences"]["figure"] == "own_words_nats", "perfect"] = math.nan
    for others, said in (([sentences(0.1)], "is 43.44 nats a sentence, where"), ([], "is not known here, where")):
        (found,) = section.sections(comparison(carried, *others))
        assert f"the best that any model can reach {said}" in " ".join(found.meaning)


def test_several_seeds_are_told_of_together() -> None:
    (found,) = section.sections(comparison(sentences(0.1), sentences(0.3), sentences(0.2)))
    assert found.tables[1][1][0][1] == "0.200 (0.100 to 0.300)"
    assert found.tables[2][1][0][1] == "0.70 (0.60 to 0.80)"


def test_an_arm_that_is_lost_is_said_to_be() -> None:
    (found,) = section.sections(comparison(sentences(0.1), lost=True))
    said = "Not measured: bilstm-clipped, as no better than a unigram model, or without a number to say."
    assert said in found.meaning


def test_real_text_has_a_row_a_temperature_and_one_of_its_own() -> None:
    (found,) = section.sections(comparison(real(0.0)))
    ((headings, rows),) = found.tables
    assert [row[:2] for row in rows] == [["rnn-clipped", "0.5"], ["rnn-clipped", "1"], ["*the test text*", ""]]
    assert headings[2] == "perplexity" and rows[0][2] == "30.00 [20.00, 300.0]" and rows[2][3] == "0.300 [0.050, 0.800]"
    assert "order 5" in found.meaning[0] and "40 places" in found.meaning[0]
    (several,) = section.sections(comparison(real(0.0), real(2.0)))
    assert several.tables[0][1][0][2] == "30.00 (30.00 to 32.00)"


def test_nothing_is_shown_where_no_arm_spoke() -> None:
    assert section.sections(comparison({})) == [] and drawn(comparison({})) == {}


def test_figures_show_every_arm_that_spoke() -> None:
    made_up = drawn(comparison(sentences(0.1), sentences(0.2)))
    assert list(made_up) == ["own_by_place"] and set(made_up) <= set(figures.FIGURES)
    agreement, place = made_up["own_by_place"].panels
    assert len(agreement.series) == 2 and len(place.series) == 2 * 2
    assert agreement.rows and all(row["y"] is not None for row in agreement.rows)
    (panel,) = drawn(comparison(real(0.0), real(1.0)))["own_lines"].panels
    ((words, _),) = panel.layers
    assert len(panel.series) == 2 + 1 and [row["text"] for row in words["data"]["values"]] == ["0.5", "1"]
    assert [row["x"] for row in panel.rows if row["s"] == 2] == [150]
