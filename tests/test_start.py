"""`train.start_from`: what goes on from a finished run ends as if that had never ended; or takes its weights over."""

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file
from stages import train as stage

from miniature import SIZES, arm_of, lay_out, split_of, text_of
from unrolled.ground.layers import PLACES
from unrolled.ground.older_runs import LATER
from unrolled.ground.resolved import read_arm
from unrolled.ground.start import Start, checkpoints_of, digest_of
from unrolled.settings.start import pinned
from unrolled.shell.errors import UserError
from unrolled.training.fit import fit
from unrolled.training.history import History
from unrolled.training.run_directory import write_run
from unrolled.training.start import begin
from unrolled.training.training import Training

TOKENS = text_of(470)
TRAIN, VALID = split_of(TOKENS[:380]), split_of(TOKENS[380:])
CASES = {
    "rnn-unclipped-1": {},
    "lstm-clipped-1": {"optimiser": "adam", "learning_rate": 0.01, "weight_dropout": 0.3, "embedding_dropout": 0.2},
    "bilstm-clipped-1": {"learning_rate": 30.0, "average_after": 0, "average_again": 1, "anneal_after": 1},
}


@pytest.fixture(autouse=True)
def _in_a_repository_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".dvc").mkdir()
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)


def small(name: str, **changes: Any) -> dict[str, Any]:
    return arm_of(name, **({"layers": 2, "dropout": 0.2} | changes))


def train(arm: dict[str, Any], run: Path, *, sizes: dict[str, int] = SIZES, corpus: str = "corpus") -> History:
    """Train an arm as the stage does, and write its run."""
    history = History(training := Training.of(arm, sizes))
    begin(training, history, arm, corpus, Path("data/encoded"))
    for record in fit(training, TRAIN, VALID):
        history.add(record)
    write_run(run, training, history, {**arm, "task": "language_model"}, sizes, corpus)
    return history


def contents(run: Path) -> dict[str, bytes]:
    """All but what says where the training began."""
    others = ("settings.json", "summary.json", "last.safetensors")
    return {path.name: path.read_bytes() for path in run.iterdir() if path.name not in others}


def words(names: list[str], place: Path) -> None:
    """A vocabulary: that of a tokenizer, as far as it is read back."""
    place.mkdir(parents=True, exist_ok=True)
    vocabulary = {name: index for index, name in enumerate(names)}
    (place / "tokenizer.json").write_text(json.dumps({"model": {"vocab": vocabulary}}))


def from_run(arm: dict[str, Any], address: str, **changes: Any) -> dict[str, Any]:
    return pinned({"arm": {**arm, "train": {**arm["train"], "start_from": address, **changes}}})["arm"]


# ---- for more epochs


@pytest.mark.parametrize("arm", CASES)
def test_one_epoch_and_three_more_are_four(arm: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The learning rate, averages, masks and the optimiser's sums go on, and so does what the run tells of it all."""
    train(small(arm, epochs=4, **CASES[arm]), Path("whole"))
    train(small(arm, epochs=1, **CASES[arm]), Path("runs", arm))
    resolved = from_run(small(arm, epochs=4, **CASES[arm]), "runs")
    history = train(resolved, Path("runs", arm))
    assert f"{arm}: training goes on from runs, after epoch 1 and step 12\n" in capsys.readouterr().err
    assert contents(Path("runs", arm)) == contents(Path("whole"))
    assert history.inherited == 12 and len(history.steps()) == 48
    # Once more: the run that stands there came of the first one, so that is where it begins again.
    assert from_run(small(arm, epochs=4, **CASES[arm]), "runs")["train"] == resolved["train"]
    assert from_run(small(arm, epochs=5, **CASES[arm]), f"runs/{arm}")["train"] != resolved["train"]


def test_a_run_of_before_a_key_was_there_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    """It was trained as the key says where it is off, and counted nothing that came with it."""
    older = small("lstm-clipped-1", epochs=1)
    older["train"] = {key: value for key, value in older["train"].items() if key not in LATER}
    train(older, Path("runs/lstm-clipped-1"))
    for changes, said in (
        ({}, "training goes on"),
        ({"window_varies": True}, "train.window_varies was False and is True"),
    ):
        arm = from_run(small("lstm-clipped-1", epochs=2, **changes), "runs")
        training = Training.of(arm, SIZES)
        begin(training, History(training), arm, "corpus", Path("data/encoded"))
        assert said in capsys.readouterr().err


def test_the_same_network_spelt_in_another_way_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    """Bit by bit as spelt at first: one value of all layers and places, or the same for each."""
    arm, width = "lstm-clipped-1", small("lstm-clipped-1")["network"]["hidden"]
    by_place = {"dropout": dict.fromkeys(PLACES, 0.2), "dropout_mask": dict.fromkeys(PLACES, "step")}
    train(small(arm, epochs=2), Path("whole"))
    train(small(arm, epochs=1), Path("runs", arm))
    train(from_run(small(arm, epochs=2, hidden=[width, width], **by_place), f"runs/{arm}"), Path("again"))
    assert "training goes on" in capsys.readouterr().err and contents(Path("again")) == contents(Path("whole"))
    other = from_run(small(arm, epochs=2, dropout=by_place["dropout"] | {"output": 0.1}), f"runs/{arm}")
    begin(training := Training.of(other, SIZES), History(training), other, "corpus", Path("data/encoded"))
    assert "the optimiser begins anew, as network.dropout was 0.2 and is {" in capsys.readouterr().err


def test_with_other_settings_the_weights_alone_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    """Of the same corpus also from a copy that is not beside what its rows stand for."""
    train(small("lstm-clipped-1"), Path("elsewhere/lstm-clipped-1"))
    words(["a"], Path("data/encoded"))
    arm = from_run(small("lstm-unclipped-1", learning_rate=2.0), "elsewhere/lstm-clipped-1")
    training = Training.of(arm, SIZES)
    begin(training, History(training), arm, "corpus", Path("data/encoded"))
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "starts with the weights of elsewhere/lstm-clipped-1; its vocabulary is" in said
    assert said.endswith("the optimiser begins anew, as train.learning_rate was 1.0 and is 2.0\n") and not training.step
    weights = load_file("elsewhere/lstm-clipped-1/weights.safetensors")
    assert all(weights[name].equal(each) for name, each in training.model.named_parameters())


# ---- for other text


@pytest.mark.parametrize("tied", [True, False])
def test_rows_are_taken_over_by_what_they_stand_for(tied: bool, capsys: pytest.CaptureFixture[str]) -> None:
    known = [f"word{index}" for index in range(20)]
    words(known, Path("other/data/encoded"))
    (Path("other/data/encoded") / "manifest.json").write_text(json.dumps({"files": {}}))
    of_nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"  # the digest of no files
    train(small("lstm-clipped-1", tied=tied), Path("other/runs/lstm-clipped-1"), corpus=of_nothing)
    names = ["new", *known[::-2], "newer"]
    words(names, Path("data/encoded"))
    arm = from_run(small("lstm-clipped-1", tied=tied), "other/runs")
    sizes = {"vocabulary": len(names)}
    drawn, training = Training.of(arm, sizes).model, Training.of(arm, sizes)
    begin(training, History(training), arm, "another corpus", Path("data/encoded"))
    assert "2 of 12 types are new to it and drawn anew; the optimiser begins anew, as the corpus is another\n" in (
        capsys.readouterr().err
    )
    weights = load_file("other/runs/lstm-clipped-1/weights.safetensors")
    before = dict(drawn.named_parameters())
    for name, parameter in training.model.named_parameters():
        if name in training.model.rows():
            assert parameter[1:11].equal(weights[name][torch.arange(19, 0, -2)]), name
            assert parameter[[0, 11]].equal(before[name][[0, 11]]), name
        else:
            assert parameter.equal(weights[name]), name
    assert set(training.model.rows()) == {"embedding.weight", "output_bias", *([] if tied else ["output.weight"])}


# ---- what cannot be


def refused(arm: dict[str, Any], corpus: str = "corpus") -> str:
    training = Training.of(arm, SIZES)
    with pytest.raises(UserError) as error:
        begin(training, History(training), arm, corpus, Path("data/encoded"))
    assert not training.step
    return str(error.value)


def test_a_run_that_is_not_there_or_not_fit_is_named_where_params_are_read() -> None:
    arm = small("lstm-clipped-1")
    with pytest.raises(UserError, match=r"train\.start_from: nowhere is not there; a run directory is due"):
        from_run(arm, "nowhere")
    for odd in ("a\nb", "a\0", "\ud800", "x" * 9999, "x" * 300, "~nobody-here/runs"):
        with pytest.raises(UserError, match="a run directory is due") as error:
            from_run(arm, odd)
        assert str(error.value).isprintable()
    train(small("rnn-clipped-1"), Path("runs/rnn-clipped-1"))
    with pytest.raises(UserError, match="lstm-clipped-1, but of rnn-clipped-1; name one, as runs/rnn"):
        from_run(arm, "runs/")
    with pytest.raises(UserError, match=r"it has no settings\.json; a run directory is due, as runs/lstm-clipped-1"):
        from_run(arm, ".")
    Path("recipes").mkdir()
    Path("recipes/ptb.yaml").touch()
    with pytest.raises(UserError, match=r"of recipe ptb figures are kept, and no weights; train it \(unrolled use ptb"):
        from_run(arm, "ptb")
    with pytest.raises(UserError, match="is of the task language_model, not tagging"):
        from_run({**arm, "task": "tagging"}, "runs/rnn-clipped-1")
    with pytest.raises(UserError, match=r"weights\.safetensors is a file; name the folder that holds it"):
        from_run(arm, "runs/rnn-clipped-1/weights.safetensors")
    Path("runs/rnn-clipped-1/summary.json").rename("summary.json")
    with pytest.raises(UserError, match=r"runs/rnn-clipped-1/summary\.json is missing; .* train@rnn-clipped-1"):
        from_run(arm, "runs/rnn-clipped-1")
    Path("summary.json").rename("runs/rnn-clipped-1/summary.json")
    Path("runs/rnn-clipped-1/weights.safetensors").unlink()
    with pytest.raises(UserError, match=r"rnn-clipped-1 has no weights\.safetensors; get it back with: dvc checkout"):
        from_run(arm, "runs/rnn-clipped-1")


def test_nothing_goes_on_from_a_run_that_diverged() -> None:
    train(small("rnn-unclipped-1", learning_rate=1e30), Path("runs/rnn-unclipped-1"))
    assert not Path("runs/rnn-unclipped-1/last.safetensors").exists()
    with pytest.raises(UserError, match="runs/rnn-unclipped-1 diverged: there is nothing to go on from"):
        from_run(small("rnn-unclipped-1"), "runs")


def test_a_start_that_does_not_fit_is_refused_before_the_first_step() -> None:
    train(small("lstm-clipped-1"), Path("runs/lstm-clipped-1"))
    assert "was trained for 1 epochs with these settings already, and train.epochs is 1" in refused(
        from_run(small("lstm-clipped-1"), "runs")
    )
    assert "(network.cell was lstm and is gru)" in refused(from_run(small("lstm-clipped-1", cell="gru"), "runs"))
    wider = from_run(small("lstm-clipped-1", hidden=7, embedding=7), "runs")
    assert "(network.embedding was 6 and is 7, network.hidden was 6 and is 7)" in refused(wider)
    words(["a"], Path("data/encoded"))
    arm = from_run(small("lstm-clipped-1", learning_rate=2.0), "runs")
    said = refused(arm, "another corpus")
    assert "another vocabulary than data/encoded has, and what its rows stand for is not known; name it by its" in said
    assert "inside the clone that it was trained in" in said and "\n" not in said


@pytest.mark.parametrize("harm", ["gone", "weights.safetensors", "settings.json", "last.safetensors"])
def test_an_altered_copy_is_not_begun_from(harm: str) -> None:
    train(small("lstm-clipped-1"), Path("runs/lstm-clipped-1"))
    arm = from_run(small("lstm-clipped-1", epochs=2), "runs")
    copy = Start.of(arm["train"]["start_from"]).folder / "run"
    if harm == "gone":
        shutil.rmtree(copy)
    else:
        path = copy / harm
        path.write_bytes(path.read_bytes()[:-1] + b"!")
    assert "is missing or altered; make it again with: dvc repro -f -s resolve" in refused(arm)
    assert from_run(small("lstm-clipped-1", epochs=2), "runs") == arm  # as that stage does
    training = Training.of(arm, SIZES)
    begin(training, History(training), arm, "corpus", Path("data/encoded"))
    assert training.step


def test_a_run_that_came_of_a_copy_that_is_altered_is_not_begun_from() -> None:
    train(small("lstm-clipped-1"), Path("runs/lstm-clipped-1"))
    arm = from_run(small("lstm-clipped-1", epochs=2), "runs")
    train(arm, Path("runs/lstm-clipped-1"))
    (Start.of(arm["train"]["start_from"]).folder / "run/weights.safetensors").unlink()
    with pytest.raises(UserError, match="the copy of that, is gone or altered; copy runs/lstm-clipped-1 to another"):
        from_run(small("lstm-clipped-1", epochs=2), "runs")


def test_a_model_of_mlflow_is_downloaded_once_for_all_arms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name such as @champion may come to mean another one meanwhile."""
    train(small("lstm-clipped-1"), Path("model"))
    asked: list[str] = []

    def downloaded(address: str, folder: str) -> Path:
        asked.append(address)
        return Path("model")

    monkeypatch.setattr("unrolled.settings.start._downloaded", downloaded)
    arms = {name: small(name, start_from="models:/ours@champion") for name in ("lstm-clipped-1", "lstm-unclipped-1")}
    stated = {arm["train"]["start_from"] for arm in pinned(arms).values()}
    assert asked == ["models:/ours@champion"] and stated == {f"models:/ours@champion@{digest_of(Path('model'))}"}


# ---- through the stages


def test_the_stages_go_on_and_the_run_in_their_way_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DVC removes runs/<arm> before it trains the arm; what it begins from was copied while params.yaml was read."""
    monkeypatch.setattr("unrolled.shell.memory.keep_freed_memory", lambda: None)  # of all tests after this one
    lay_out(tmp_path, epochs=1)
    assert "start_from" not in read_arm("lstm-clipped-1")["train"]
    assert CliRunner().invoke(stage.main, ["lstm-clipped-1"]).exit_code == 0
    digest = digest_of(Path("runs/lstm-clipped-1"))
    lay_out(tmp_path, epochs=2, start_from="runs/lstm-clipped-1")
    shutil.rmtree("runs")
    result = CliRunner().invoke(stage.main, ["lstm-clipped-1"])
    assert result.exit_code == 0 and "training goes on from runs/lstm-clipped-1, after epoch 1" in result.stderr
    settings = json.loads(Path("runs/lstm-clipped-1/settings.json").read_text())
    assert settings["train"]["start_from"] == f"runs/lstm-clipped-1@{digest}"
    timings = json.loads(Path("timings/lstm-clipped-1.json").read_text())
    both = sum(pd.read_parquet("runs/lstm-clipped-1/steps.parquet")["tokens"])
    assert timings["tokens_per_second"] * timings["seconds"] == pytest.approx(both / 2, rel=0.05)  # of its own epoch


def test_checkpoints_lie_where_all_machines_reach_them_or_at_the_root(tmp_path: Path) -> None:
    assert checkpoints_of(tmp_path, {}) == tmp_path / "checkpoints"
    assert checkpoints_of(tmp_path, {"UNROLLED_CHECKPOINTS": "/shared/ours"}) == Path("/shared/ours")
    assert checkpoints_of(tmp_path, {"UNROLLED_CHECKPOINTS": "ours"}) == tmp_path / "ours"
