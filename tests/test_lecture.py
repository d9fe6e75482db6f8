"""The lecture's page: what a comparison has no figure of is not stated, and what did not hold is said not to have."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from unrolled.ground.registry import has_part, task_names, task_part
from unrolled.report.lecture import PARTS, Results, Statement, write
from unrolled.shell.cli import main
from unrolled.shell.errors import UserError

RNN = {"forward_perplexity": 120.0, "lyapunov_exponent": -0.5, "spectral_radius": 2.0, "clipped_share": 0.99}
LSTM = {"forward_perplexity": 90.0, "lyapunov_exponent": -0.01, "time_constant": 2.0, "clipped_share": 0.02}
TEXT: dict[str, dict[str, Any]] = {
    "rnn-clipped": RNN,
    "lstm-clipped": LSTM | {"vocabulary_size": 3000},
    "lstm-unclipped": {"forward_perplexity": None, "first_explosion": 8},
    "unigram": {"forward_perplexity": 300.0},
    "uniform": {"forward_perplexity": 3000.0},
    "kneser_ney": {"forward_perplexity": 70.0},
}
NOWHERE = Path("no such folder")  # the one that tests run in may hold results
SPEECH = {f"{arch}-clipped": {"word_error_rate": 0.05} for arch in ("rnn", "lstm", "bilstm")}


def told(rows: dict[str, dict[str, Any]], task: str = "language_model", folder: Path = NOWHERE) -> dict[str, Statement]:
    """By the first words of what is claimed."""
    named = {
        name: row | dict(zip(("arch", "clipping"), name.split("-"), strict=False)) if "-" in name else row
        for name, row in rows.items()
    }
    found: list[Statement] = list(task_part(task, "lecture").statements(Results(folder, task, named)))
    assert {each.part for each in found} <= PARTS.keys()
    return {" ".join(each.claim.split()[:3]): each for each in found}


def test_what_held_and_what_did_not_is_read_off_the_figures() -> None:
    said = told(TEXT)
    assert said["Trained by the"].held and "4.50 nats" in said["Trained by the"].found
    assert said["A recurrent network"].held is False and "90.0" in said["A recurrent network"].found
    assert said["With the largest"].held is False and "exp(-0.50) = 0.61" in said["With the largest"].found
    assert said["Clipping is for"].held is False and said["A cell that"].held
    assert said["At a learning"].held and "lstm above 1e6 from step 8 (clipped 90.0)" in said["At a learning"].found
    assert "A model that sees both" not in said and "The gradient of" not in said
    other = TEXT | {"kneser_ney": {"forward_perplexity": 95.0}}
    other["rnn-clipped"] = TEXT["rnn-clipped"] | {"spectral_radius": 0.9, "clipped_share": 0.1}
    said = told(other)
    assert said["A recurrent network"].held and said["With the largest"].held and said["Clipping is for"].held


def test_made_up_text_has_statements_of_its_own() -> None:
    arms = {"rnn-clipped": {"memory_span": 6.0}, "lstm-clipped": {"memory_span": 244.0, "forward_excess": 0.007}}
    said = told(arms)
    assert said["Teacher forcing brings"].held and "all 244 that" in said["What lies too"].found
    assert "A recurrent network" not in said


@pytest.mark.parametrize(("own", "held"), [(0.862, False), (0.7, True), (0.95, False)])
def test_a_network_errs_on_where_its_own_words_agree_less_than_true_ones(own: float, held: bool) -> None:
    said = told({"lstm-clipped": {"forward_excess": 0.007, "own_agreement": own, "finish_accuracy": 0.860}})
    assert said["A network that"].held is held and bool(said["A network that"].because) is not held


@pytest.mark.parametrize(("lost", "held"), [(-math.inf, True), (-0.1, False)])
def test_units_at_their_ends_are_blamed_where_fewer_of_them_lose_less(lost: float, held: bool, tmp_path: Path) -> None:
    plots = tmp_path / "report/plots"
    plots.mkdir(parents=True)
    (plots / "saturation.csv").write_text(
        "arm,stack,layer,gate,low_share,high_share\nrnn-clipped-1,forward,0,hidden,0.3,0.2\n"
        "rnn-unclipped-1,forward,0,hidden,0.5,0.5\nlstm-clipped-1,forward,0,input,0.9,0.1\n"
    )
    rows = {
        "rnn-clipped": RNN | {"seed": 1},
        "rnn-unclipped": TEXT["lstm-unclipped"] | {"lyapunov_exponent": lost, "seed": 1},
    }
    said = told(rows, folder=tmp_path)["A unit at"]
    assert said.held is held and "50% of all values" in said.found and "leaves 61% of a gradient" in said.found
    assert f"100%, and {math.exp(lost):.0%}." in said.found and "A unit at" not in told(rows)


DEPTHS = "connection,layers,arm,when,layer,norm,score\n" + "".join(
    f"{connection},{layers},x-clipped-1,{when},{layer},{norm},90\n"
    for connection, layers, norms in (("plain", 2, (1, 4)), ("plain", 3, (0.5, 2, 8)), ("dense", 3, (6, 7, 8)))
    for when, factor in (("before training", 1), ("after", 100))
    for layer, norm in enumerate((norms[0] * factor, *norms[1:]), 1)
)


def test_what_only_another_clone_has_figures_of_is_told_by_those(tmp_path: Path) -> None:
    for clone, rows in (("here", TEXT), ("there", {"plain_3-clipped": {}})):
        (tmp_path / clone / "report/plots").mkdir(parents=True)
        (tmp_path / clone / "params.yaml").write_text("task: language_model\n")
        arms = {f"{name}-1": row | {"arch": name.split("-")[0], "clipping": "clipped"} for name, row in rows.items()}
        (tmp_path / clone / "report/comparison.json").write_text(json.dumps({"arms": arms, "baselines": {}}))
    (tmp_path / "there/report/plots/depths.csv").write_text(DEPTHS)
    here, page = tmp_path / "here", tmp_path / "here/docs/lecture.md"
    assert write(here, page) == ["."] and "README.md has what came out" in page.read_text()
    assert write(here, page, [tmp_path / "there"]) == [".", "../there"]
    said = page.read_text()
    assert "uppermost of 3 layers the lowest gets 0.062 times as much" in said and "dense 0.75. *It held.*" in said
    assert said.count("Down a stack of layers") == 1 and "README.md has" not in said


@pytest.mark.parametrize("task", [task for task in task_names() if has_part(task, "lecture")])
def test_without_figures_nothing_is_said_to_have_held(task: str) -> None:
    assert all(each.held is None for each in told({}, task).values())


def test_the_page_has_the_parts_in_order_with_their_pictures(tmp_path: Path) -> None:
    for folder, task, rows in (
        (tmp_path, "language_model", TEXT),
        (tmp_path / "pipelines/speech", "speech", SPEECH),
    ):
        (folder / "report/figures").mkdir(parents=True)
        (folder / "params.yaml").write_text(f"task: {task}\n")
        cells = {name: name.split("-") for name in rows if "-" in name}
        arms = {f"{name}-1": rows[name] | {"arch": cell[0], "clipping": cell[1]} for name, cell in cells.items()}
        baselines = {name: row for name, row in rows.items() if name not in cells}
        (folder / "report/comparison.json").write_text(json.dumps({"arms": arms, "baselines": baselines}))
    (tmp_path / "report/figures/score.png").write_bytes(b"a picture")
    assert write(tmp_path, tmp_path / "docs/lecture.md") == [".", "pipelines/speech"]
    page = (tmp_path / "docs/lecture.md").read_text()
    titles = [line.removeprefix("## ") for line in page.split("\n") if line.startswith("## ")]
    assert titles == [title for title in PARTS.values() if title in titles] and PARTS["uses"] in titles
    assert "Words that are wrong: RNN 5.0%" in page and "*It held.*" in page and "*It did not hold: " in page
    assert (
        "(lecture/text-score.png)" in page and (tmp_path / "docs/lecture/text-score.png").read_bytes() == b"a picture"
    )
    assert [path.name for path in (tmp_path / "docs/lecture").iterdir()] == ["text-score.png"]


def test_where_nothing_has_run_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="no pipeline has run here; begin with: make repro"):
        write(tmp_path, tmp_path / "docs/lecture.md")
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(main, ["lecture"]).exit_code == 1 and not (tmp_path / "docs").exists()
