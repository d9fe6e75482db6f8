"""One text in several units, from what DVC shows of experiments: what a byte costs, not what a token does."""

from pathlib import Path
from typing import Any

from unrolled.tasks.language_model.units import draw, over_units, picture, table


def experiment(unit: str, types: int, window: int = 35, size: int = 800, **bits: float) -> dict[str, Any]:
    """As `dvc exp show --json` has it."""
    vocabulary = {"unit": unit, "lowercase": False, "min_count": 5, "max_size": None, "subwords": "bpe", "size": size}
    shared = {"vocabulary_size": float(types), "unknown_share": 0.041 if unit == "word" else 0.0}
    metrics = {
        name: {"forward_perplexity": 2**cost, "spelled_bits_per_byte": cost, **shared} for name, cost in bits.items()
    }
    metrics["uniform"] = {
        "forward_perplexity": 9.0,
        "spelled_bits_per_byte": 9.0,
        **shared,
    }  # beside the others it is nothing
    metrics["bilstm-clipped"] = {"pseudo_perplexity": 1.0, **shared}  # no perplexity
    files: dict[str, Any] = {
        "params": {"params.yaml": {"data": {"vocabulary": vocabulary, "train": {"window": window}}}},
        "metrics": {"metrics.json": {"data": metrics}},
    }
    return {"name": "some-name", "revs": [{"rev": "abc", "data": files}]}


def shown(*experiments: Any) -> list[Any]:
    """DVC shows the newest first."""
    return [{"data": None}, {"data": None, "experiments": list(experiments)}]


def test_units_of_the_same_settings_stand_in_one_table(tmp_path: Path) -> None:
    made = shown(
        experiment("word", 9000, **{"rnn-clipped": 2.5, "lstm-clipped": 2.0, "kneser_ney": 1.5}),
        experiment("subword", 800, **{"rnn-clipped": 2.25, "lstm-clipped": 1.75, "kneser_ney": 1.25}),
        experiment("character", 90, window=70, **{"rnn-clipped": 9.0}),  # alone with its window
        experiment("character", 90, **{"lstm-clipped": float("inf"), "kneser_ney": 3.0}),
        experiment("word", 9000, **{"rnn-clipped": 7.0}),  # an older one, whose place the first takes
    )
    (other, (alone,)), (settings, rows) = over_units(made, "")
    assert (other["train.window"], alone.label) == ("70", "character")
    assert settings == {"vocabulary.lowercase": "false", "train.window": "35"}
    assert [row.label for row in rows] == ["character", "subword, bpe 800", "word, seen 5 times"]
    said = list(table(settings, rows, settings))
    assert said[1].split() == ["types", "<unk>", "lstm-clipped", "kneser_ney", "rnn-clipped"]
    assert said[4].split()[-8:] == ["9,000", "4.1%", "2.000", "(4.00)", "1.500", "(2.83)", "2.500", "(5.66)"]
    (panel,) = picture(rows).panels
    bars = [row["y"] for layer, _ in panel.layers if layer["mark"] == "rect" for row in layer["data"]["values"]]
    assert sorted(bars) == [1.25, 1.5, 1.75, 2.0, 2.25, 2.5, 3.0]
    draw(rows, tmp_path / "units.svg")
    assert (tmp_path / "units.png").is_file()


def test_sizes_of_subwords_are_rows_of_their_own() -> None:
    made = shown(*(experiment("subword", size, size=size, **{"rnn-clipped": 1.0}) for size in (2000, 500)))
    ((_, rows),) = over_units(made, "")
    assert [row.label for row in rows] == ["subword, bpe 500", "subword, bpe 2,000"]
    by_themselves = (experiment("word", 9, window=window, **{"rnn-clipped": 1.0}) for window in (35, 70))
    assert not over_units(shown(*by_themselves), "")
