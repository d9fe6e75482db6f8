"""Whatever happens to a byte of a run, an evaluation, the probes or a checkpoint: it is told, never used."""

import shutil
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miniature import ROOT, SIZES, arm_of, corpus_of, made_of, section_of, split_of, text_of
from unrolled.ground.evaluation import Evaluation
from unrolled.ground.resolved import read_resolved
from unrolled.ground.run import Run
from unrolled.probing.probe import Probes, probe
from unrolled.scoring.evaluation import write_evaluation
from unrolled.settings.resolve import resolve
from unrolled.shell.errors import UserError
from unrolled.tasks.language_model.evaluation.evaluate import evaluate, kneser_ney
from unrolled.tasks.language_model.evaluation.scores import SCORES
from unrolled.training.checkpoint import Checkpoint
from unrolled.training.fit import fit
from unrolled.training.history import History
from unrolled.training.run_directory import write_run
from unrolled.training.training import Training

TOKENS = text_of(200)
TRAIN, VALID = split_of(TOKENS[:150]), split_of(TOKENS[150:])
CORPUS = corpus_of(TRAIN, VALID, split_of(TOKENS[40:90], 0, 20))
ARM = "lstm-clipped-1"
SETTINGS = {
    "evaluate": section_of("evaluate", bootstrap_samples=5, ngram_order=2),
    "probe": section_of("probe", contexts=[1, 3], positions=9, lyapunov_steps=9, lyapunov_exponents=3),
}
READERS: dict[str, tuple[Callable[[Path], Any], str]] = {
    f"runs/{ARM}": (Run.read, f"train@{ARM}"),
    f"evaluation/{ARM}": (Evaluation.read, f"evaluate@{ARM}"),
    "baselines/kneser_ney": (Evaluation.read, "baseline@kneser_ney"),
    f"probes/{ARM}": (Probes.read, f"probe@{ARM}"),
}


class Trained(NamedTuple):
    place: Path
    arm: dict[str, Any]
    kept: Path  # the checkpoint

    def checkpoint(self) -> tuple[Training, Checkpoint]:
        training = Training.of(self.arm, SIZES)
        return training, Checkpoint(self.place, training, History(training), self.arm, "corpus")


@pytest.fixture(scope="module")
def trained() -> Iterator[Trained]:
    """What the stages leave of one tiny arm, and a checkpoint from the midst of its training."""
    place, arm = Path(mkdtemp()), arm_of(ARM, embedding=4, hidden=4)
    training = Training.of(arm, SIZES)
    history = History(training)
    checkpoint = Checkpoint(place, training, history, arm, "corpus")
    for record in checkpoint.kept(fit(training, TRAIN, VALID)):
        history.add(record)
        if training.step == 3:
            checkpoint.write()
            shutil.copy(checkpoint.path, place / "kept")
    shutil.move(place / "kept", checkpoint.path)
    write_run(place / "runs" / ARM, training, history, arm, SIZES, "corpus")
    run, own = Run.read(place / "runs" / ARM), SETTINGS["evaluate"]
    baseline = kneser_ney(CORPUS, own)
    write_evaluation(place / "baselines" / "kneser_ney", "kneser_ney", baseline, SCORES, made_of(own))
    read = {"kneser_ney": Evaluation.read(place / "baselines" / "kneser_ney")}
    scored = evaluate(run.model(), CORPUS, own, read)
    write_evaluation(place / "evaluation" / ARM, ARM, scored, SCORES, made_of(own, run=run, **read))
    probe(place / "probes" / ARM, run, Evaluation.read(place / "evaluation" / ARM), CORPUS, SETTINGS)
    yield Trained(place, arm, checkpoint.path)
    shutil.rmtree(place)


@st.composite
def damage(draw: st.DrawFn) -> Callable[[bytes], bytes | None]:
    """Bytes -> other bytes, or None for no file at all."""
    kind = draw(st.sampled_from(["removed", "emptied", "cut", "flipped", "flipped", "replaced", "longer"]))
    share, byte = draw(st.floats(0, 1, exclude_max=True)), draw(st.integers(1, 255))

    def done(content: bytes) -> bytes | None:
        at = int(share * len(content))
        return {
            "removed": None,
            "emptied": b"",
            "cut": content[:at],
            "flipped": content[:at] + bytes([content[at] ^ byte]) + content[at + 1 :],
            "replaced": content[:at] + (b"\n" if content[at : at + 1] == b" " else b" ") + content[at + 1 :],
            "longer": content + bytes([byte]),
        }[kind]

    return done


def put(path: Path, content: bytes | None) -> None:
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)


@pytest.mark.parametrize("kind", READERS)
@given(st.data(), damage())
def test_every_damage_to_a_directory_is_told(
    kind: str, trained: Trained, data: st.DataObject, damaged: Callable[[bytes], bytes | None]
) -> None:
    read, stage = READERS[kind]
    directory = trained.place / kind
    read(directory)
    path = data.draw(st.sampled_from(sorted(directory.iterdir())))
    content = path.read_bytes()
    after = damaged(content)
    put(path, after)
    try:
        if after == content:
            read(directory)
            return
        with pytest.raises(UserError) as caught:
            read(directory)
    finally:
        path.write_bytes(content)
    message = str(caught.value)
    assert str(path) in message and f"dvc repro -f -s {stage}" in message and "\n" not in message


@pytest.mark.parametrize("kind", READERS)
def test_a_file_that_came_later_is_told(kind: str, trained: Trained) -> None:
    read, stage = READERS[kind]
    extra = trained.place / kind / "notes.txt"
    extra.touch()
    with pytest.raises(UserError, match=rf"notes\.txt was added after .* remove it, or .*{stage}"):
        read(extra.parent)
    extra.unlink()
    read(extra.parent)


@pytest.mark.parametrize("name", ["evaluate", f"arms/{ARM}"])
@given(damage())
def test_damaged_settings_are_told_or_still_say_the_same(
    name: str, resolved: Path, damaged: Callable[[bytes], bytes | None]
) -> None:
    path, before = resolved / f"{name}.json", read_resolved(name, resolved)
    content = path.read_bytes()
    put(path, damaged(content))
    try:
        assert read_resolved(name, resolved) == before  # other blanks between the words
    except UserError as error:
        message = str(error)
        assert str(path) in message and "dvc repro" in message and "resolve" in message and "\n" not in message
    finally:
        path.write_bytes(content)


@pytest.fixture(scope="module")
def resolved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pipeline") / "resolved"
    resolve(ROOT / "params.yaml", folder)
    return folder


@given(damage())
def test_a_damaged_checkpoint_is_told_and_training_starts_anew(
    trained: Trained, damaged: Callable[[bytes], bytes | None]
) -> None:
    path = trained.kept
    content = path.read_bytes()
    after = damaged(content)
    training, checkpoint = trained.checkpoint()
    put(path, after)
    said: list[str] = []
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("builtins.print", lambda line, **_: said.append(line))
            checkpoint.resume()
    finally:
        path.write_bytes(content)
    if after is None:
        assert not said
    elif after == content:
        assert "training goes on after step" in said[0]
    else:
        assert f"training starts anew: {path} is damaged" in said[0] and "\n" not in said[0]
    assert training.step == (3 if after == content else 0)
    assert len(list(islice(fit(training, TRAIN, VALID), 2))) == 2


def test_numbers_of_another_type_are_not_those_that_were_written(
    trained: Trained, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same bytes, read as whole numbers: a header's damage that leaves every tensor's bytes as they were."""
    path = trained.kept
    content = path.read_bytes()
    at = content.index(b'"F32"', content.index(b'"weights/'))
    training, checkpoint = trained.checkpoint()
    path.write_bytes(content[:at] + b'"I32"' + content[at + 5 :])
    try:
        checkpoint.resume()
    finally:
        path.write_bytes(content)
    assert "training starts anew" in capsys.readouterr().err and training.step == 0
