"""`unrolled transcribe` and the served model: what is written of a recording, how sure, and where it was heard."""

import base64
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from click.testing import CliRunner
from ruamel.yaml import YAML

from miniature import ROOT, run_stage
from unrolled.ground.corpus import read_corpus
from unrolled.shell.cli import main as cli
from unrolled.shell.errors import UserError
from unrolled.tasks.speech import publishing
from unrolled.tasks.speech.audio import serving
from unrolled.tasks.speech.audio.inference import read_transcriber
from unrolled.tasks.speech.audio.serving import Transcriber, _load_pyfunc
from unrolled.tasks.speech.audio.silence import longest_silence, without_long_silence
from unrolled.tasks.speech.evaluation.measures import spelled
from unrolled.tasks.speech.evaluation.reading import found_in
from unrolled.tasks.speech.model.batches import utterance
from unrolled.tasks.speech.model.network import Network
from unrolled.tasks.speech.model.search import Found

PARAMS = ROOT / "pipelines" / "speech" / "params.yaml"
RATE = 8000
PITCHES = {"low": 400.0, "mid": 1100.0, "high": 2600.0}
TINY: dict[str, dict[str, Any]] = {
    "corpus": {
        "name": "words", "path": "recordings", "unseen": [], "strings": {"train": 64, "valid": 4, "test": 6},
        "lengths": [3, 4], "longer": None, "branching": 3,
    },
    "vocabulary": {"mels": 13},
    "network": {
        "hidden": 24, "attention": 16, "filters": 4, "filter_width": 5, "decoder_embedding": 8, "decoder_hidden": 24,
        "frames_per_step": 5,
    },
    "train": {"epochs": 8, "utterances": 8, "learning_rate": 0.01, "tempo": 0.0, "ctc_weight": 0.7},
    "evaluate": {"beam": 2, "ctc_share": 0.3},
}  # fmt: skip
ARCH = {
    "hears": {},
    "vector": {"conditioning": "initial_state", "epochs": 1},
    "deaf": {"conditioning": "none", "ctc": False, "ctc_weight": 0.0, "epochs": 1},
}


def yaml() -> Any:
    return YAML(typ="safe", pure=True).load(PARAMS.read_text(encoding="utf-8"))


def tone(word: str, seconds: float = 0.25, rate: int = RATE, seed: int = 0) -> Any:
    """Float [N]: a "word" is a pitch, over a little noise."""
    time = np.arange(round(seconds * rate)) / rate
    return 0.3 * np.sin(2 * np.pi * PITCHES[word] * time) + np.random.default_rng(seed).normal(0, 0.003, len(time))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three arms trained on strings of tones: one that attends, one told by a vector, one that hears nothing."""
    place = tmp_path_factory.mktemp("speech")
    (place / "recordings").mkdir()
    for word in PITCHES:
        for number in range(9):
            file = place / "recordings" / f"{word}_anna_{number}.wav"
            soundfile.write(file, tone(word, 0.2 + 0.01 * number, seed=number), RATE, subtype="PCM_16")
    params = yaml()
    for section, changes in TINY.items():
        params[section] |= changes
    params |= {"arch": ARCH, "clipping": {"clipped": {"clip_norm": 1.0}}}
    with (place / "params.yaml").open("w") as file:
        YAML(typ="safe", pure=True).dump(params, file)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        for name in ("resolve", "preprocess", "vocabulary"):
            run_stage(name)
        for arm in ARCH:
            run_stage("train", f"{arm}-clipped")
    return place


@pytest.fixture(scope="module")
def transcriber(whole: Path) -> Transcriber:
    return read_transcriber("hears-clipped", whole)[1]


def sounds(whole: Path) -> list[Any]:
    """Of the first utterances of the test split."""
    corpus = read_corpus(whole / "data" / "encoded")
    ends = corpus.test.arrays["sound_ends"].tolist()
    return np.split(np.asarray(corpus.test.arrays["sound"]), ends[:-1])


@pytest.fixture
def said(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stands in the workspace; low, high, mid as a recording."""
    monkeypatch.chdir(whole)
    quiet = np.random.default_rng(5).normal(0, 6 / 32768, 800)
    parts = [quiet, tone("low"), quiet, tone("high"), quiet, tone("mid"), quiet]
    soundfile.write(tmp_path / "said.wav", np.concatenate(parts), RATE, subtype="PCM_16")
    return tmp_path / "said.wav"


def transcribe(*arguments: Any) -> Any:
    return CliRunner().invoke(cli, ["transcribe", *map(str, arguments)])


# ---- what is written -------------------------------------------------------------------------------------------------


def test_the_networks_read_what_the_corpus_holds(whole: Path, transcriber: Transcriber) -> None:
    corpus = read_corpus(whole / "data" / "encoded")
    for index, each in enumerate(sounds(whole)):
        assert np.array_equal(transcriber.features(each), utterance(corpus.test, index).sound)


def test_a_test_utterance_is_written_as_the_evaluation_writes_it(whole: Path, transcriber: Transcriber) -> None:
    corpus = read_corpus(whole / "data" / "encoded")
    assert (transcriber.beam, transcriber.ctc_share) == (2, 0.3)
    found = found_in(transcriber.network, corpus.test, beam=2, ctc_share=0.3)
    texts = spelled(corpus, [each.words for each in found])
    assert [each.text for each in transcriber.transcripts(sounds(whole))] == texts
    assert transcriber.transcripts([]) == []


def test_a_words_probability_is_given_the_words_before(whole: Path, transcriber: Transcriber) -> None:
    network = transcriber.network
    for sound, found in zip(sounds(whole)[:3], transcriber.transcripts(sounds(whole)[:3]), strict=True):
        read = torch.from_numpy(transcriber.features(sound))[:, None]
        encoded = network.encode(read, torch.tensor([len(read)]))
        writing, before, shares, heard = network.begin(encoded), 1, [], []
        for word in found.words:
            hidden, writing = network.write(torch.tensor([[before]]), writing)
            before = transcriber.names.index(word)
            shares.append(network.logits(hidden[0, 0]).softmax(-1)[before].item())
            assert writing.weights is not None
            heard.append(writing.weights[0, 0].detach().numpy())
        assert found.probabilities == pytest.approx(shares, abs=1e-5)
        assert found.attention is not None and found.attention == pytest.approx(np.array(heard), abs=1e-5)
        assert found.attention.shape == (len(found.words), -(-len(read) // 5)) and found.step == 0.05


@pytest.mark.parametrize("room", [1, 6, 60])
@pytest.mark.parametrize("seconds", [(1.5, 0.0), (0.0, 1.5), (3.0, 3.0)])
def test_long_silence_at_the_ends_changes_no_word(
    said: Path, transcriber: Transcriber, room: float, seconds: tuple[float, float], capsys: pytest.CaptureFixture[str]
) -> None:
    """However loud the room is, up to a fiftieth of the voice."""
    words, _ = soundfile.read(said)
    draw = np.random.default_rng(1)
    parts = [draw.normal(0, room / 32768, round(each * RATE)) for each in seconds]
    padded = said.with_name("padded.wav")
    soundfile.write(padded, np.concatenate([parts[0], words, parts[1]]), RATE, subtype="PCM_16")
    (sound,) = transcriber.read([padded])
    assert "padded.wav: silence at the ends is left out" in capsys.readouterr().err
    assert len(words) - 1600 <= len(sound) <= len(words) + 3200
    assert [each.text for each in transcriber.transcripts([sound])] == ["low high mid"]
    (plain,) = transcriber.read([said])
    assert np.array_equal(plain, np.round(words * 32768)) and not capsys.readouterr().err


def test_silence_is_kept_of_what_is_trained_on_whole() -> None:
    assert longest_silence("utterances") is None and longest_silence("digits") == longest_silence("words") == 0.2
    loud, quiet = np.full(800, 900, np.int16), np.full(4000, 3, np.int16)
    sound = np.concatenate([quiet, loud, quiet, loud, quiet])
    assert without_long_silence(sound, 8000, 0.1).tolist() == sound[3200:10400].tolist()
    for whole in (loud, loud[:5], np.concatenate([quiet[:1000], loud])):
        assert without_long_silence(whole, 8000, 0.2) is whole or len(without_long_silence(whole, 8000, 0.2)) == len(
            whole
        )


def test_a_sound_shorter_than_a_frame_is_refused(transcriber: Transcriber) -> None:
    with pytest.raises(ValueError, match="sound 2 has 199 samples; a frame alone takes 200"):
        transcriber.transcripts([np.ones(400, np.int16), np.ones(199, np.int16)])


def test_a_word_of_letters_is_as_sure_as_all_of_them_and_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["<unk>", "<eos>", " ", "a", "b"]
    network = Network(5, 4, **(yaml()["network"] | {"hidden": 4, "decoder_hidden": 4, "ctc": False}))
    letters = Transcriber(network, names, "character", RATE, np.ones(4, np.float32), beam=1, ctc_share=0.0)
    logits = torch.randn(6, 1, 5)
    heard = torch.rand(6, 1, 7)
    ids = [3, 4, 2, 2, 4]  # "ab", two spaces, "b"
    monkeypatch.setattr(serving, "search", lambda *_, **__: [Found(ids, 0.0, True)])
    monkeypatch.setattr(serving, "reread", lambda *_: (logits, heard))
    (found,) = letters.transcripts([np.arange(2400, dtype=np.int16)])
    share = logits[:, 0].double().softmax(-1).numpy()
    assert (found.text, found.words) == ("ab b", ["ab", "b"])
    ends = [share[2, 1] + share[2, 2], share[5, 1] + share[5, 2]]
    assert found.probabilities == pytest.approx([share[0, 3] * share[1, 4] * ends[0], share[4, 4] * ends[1]])
    assert found.attention is not None
    assert found.attention == pytest.approx(np.stack([heard[:2, 0].mean(0).numpy(), heard[4, 0].numpy()]))


# ---- which arm -------------------------------------------------------------------------------------------------------


def test_the_best_arm_that_listens_is_taken(whole: Path) -> None:
    assert read_transcriber(None, whole)[0] == "hears-clipped-1"
    with pytest.raises(UserError, match=r"deaf-clipped-1 hears nothing .*; name an arm that listens"):
        read_transcriber("deaf-clipped", whole)


# ---- the command -----------------------------------------------------------------------------------------------------


def test_a_recording_of_any_form_is_written_down(said: Path) -> None:
    samples, _ = soundfile.read(said)
    files = [
        said,
        *(said.with_name(f"{name}.{ending}") for name, ending in (("b", "flac"), ("c", "ogg"), ("d", "mp3"))),
    ]
    soundfile.write(files[1], np.stack([samples, samples], 1), RATE)
    soundfile.write(files[2], np.interp(np.arange(2 * len(samples)) / 2, np.arange(len(samples)), samples), 2 * RATE)
    soundfile.write(files[3], samples, RATE)
    result = transcribe(*files)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [f"{file}: low high mid" for file in files]
    told = result.stderr
    assert "hears-clipped-1:" in told and "resampled to 8,000 Hz: 1 of 4" in told and "one channel: 1 of 4" in told
    assert "longest" not in told


def test_a_name_of_bytes_that_are_no_text_is_shown(said: Path) -> None:
    other = said.rename(said.with_name(os.fsdecode(b"caf\xe9.wav")))
    for options in ((), ("--json",), ("--show", str(said.with_name("a.svg")))):
        result = transcribe(other, *options)
        assert result.exit_code == 0, result.exception
        assert "caf\N{REPLACEMENT CHARACTER}.wav" in result.stdout


def test_confidence_and_json_say_how_sure_each_word_is(said: Path, transcriber: Transcriber) -> None:
    (found,) = transcriber.transcripts(transcriber.read([said]))
    shown = "  ".join(f"{word} {share:.2f}" for word, share in zip(found.words, found.probabilities, strict=True))
    assert transcribe(said, "--confidence").stdout == f"{said}: {shown}\n"
    answer = json.loads(transcribe(said, "--json", "--arm", "hears-clipped").stdout)
    assert (answer["file"], answer["text"], answer["words"]) == (str(said), found.text, found.words)
    assert answer["probabilities"] == pytest.approx(found.probabilities, abs=1e-6)


def test_a_sound_much_longer_than_those_of_training_is_told(said: Path) -> None:
    samples, _ = soundfile.read(said)
    soundfile.write(said, np.tile(samples, 3), RATE)
    result = transcribe(said)
    assert result.exit_code == 0 and "and the longest sound of training 1." in result.stderr
    Path("data/corpus.json").rename("data/hidden")
    result = transcribe(said)
    Path("data/hidden").rename("data/corpus.json")
    assert result.exit_code == 0 and "longest" not in result.stderr


@pytest.mark.parametrize("ending", [".svg", ".png"])
def test_where_each_word_is_heard_is_drawn(ending: str, said: Path) -> None:
    place = said.with_name(f"picture{ending}")
    result = transcribe(said, "--show", place)
    assert result.exit_code == 0 and f"drawn in {place}" in result.stderr
    drawn = place.read_bytes()
    assert drawn.startswith(b"<svg" if ending == ".svg" else b"\x89PNG") and len(drawn) > 5000
    assert sorted(path.name for path in place.parent.iterdir()) == sorted([place.name, said.name])


WRONG: list[tuple[Sequence[str], str]] = [
    (["none.wav"], "none.wav is no file; name a recording"),
    (["text.wav"], "text.wav is no recording that can be read"),
    (["silent.wav"], "silent.wav is silent throughout"),
    (["short.wav"], "short.wav is 12.5 ms long, shorter than the 25 ms of a frame"),
    (["said.wav", "said.wav", "--show", "p.png"], "--show draws one sound, not 2; name one file"),
    (["said.wav", "--show", "p.pdf"], "--show: p.pdf must end in .svg or .png"),
    (["said.wav", "--show", "no/p.png"], "--show: no is no folder; make it first"),
    (["said.wav", "--show", "p.png", "--arm", "vector-clipped"], "vector-clipped-1 has no attention to draw"),
    (["said.wav", "--arm", "deaf-clipped"], "deaf-clipped-1 hears nothing"),
    (
        ["said.wav", "--arm", "other"],
        "there is no arm 'other'; params.yaml has deaf-clipped-1, hears-clipped-1, vector-clipped-1",
    ),
]


@pytest.mark.parametrize(("arguments", "wrong"), WRONG, ids=[" ".join(arguments) for arguments, _ in WRONG])
def test_a_mistake_is_told_in_one_line(
    arguments: Sequence[str], wrong: str, said: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said.with_name("text.wav").write_text("no sound")
    soundfile.write(said.with_name("silent.wav"), np.zeros(4000), RATE)
    soundfile.write(said.with_name("short.wav"), tone("low", 0.0125), RATE)
    named = [str(said.with_name(each)) if each.endswith(".wav") else each for each in arguments]
    result = transcribe(*named)
    lines = (result.stderr + capsys.readouterr().err).splitlines()
    assert result.exit_code == 1 and result.stdout == "" and result.exception.__class__ is SystemExit
    assert [line[:7] for line in lines if not line.endswith("-clipped-1:")] == ["error: "] and wrong in lines[-1]


# ---- the served model ------------------------------------------------------------------------------------------------


@pytest.fixture
def served(whole: Path, tmp_path: Path) -> Path:
    """The folder that MLflow makes of an arm."""
    run = whole / "runs" / "hears-clipped-1"
    for file in (run / "weights.safetensors", run / "settings.json", *(whole / name for name in publishing.FILES)):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def test_the_served_model_writes_as_the_arm_does(served: Path, said: Path, transcriber: Transcriber) -> None:
    model = _load_pyfunc(str(served))
    content = base64.b64encode(said.read_bytes()).decode()
    table = model.predict(pd.DataFrame({"audio": [content, content]}))
    assert list(table) == [column["name"] for column in publishing.outputs({})]
    (found,) = transcriber.transcripts(transcriber.read([said]))
    assert table["text"].tolist() == 2 * ["low high mid"] and table["words"][1] == found.words
    assert (model.beam, model.ctc_share) == (2, 0.3)
    assert np.array(table["probabilities"].tolist()) == pytest.approx(np.array(2 * [found.probabilities]), abs=1e-5)


@pytest.mark.parametrize(
    ("row", "wrong"),
    [
        ("/etc/hostname", "'/etc/hostname' is not the base64 of an audio file"),
        ("é" * 100, r"'é{60}\.\.\.' is not the base64"),
        ("bm8gc291bmQ=", "^the audio is no recording that can be read"),
        ("", r"^the audio is empty \(0 bytes\)"),
        (None, "^null is no text"),
    ],
)
def test_a_row_that_is_no_sound_is_answered_as_such(row: Any, wrong: str, said: Path, transcriber: Transcriber) -> None:
    sound = base64.b64encode(said.read_bytes()).decode()
    table = transcriber.predict([sound, row, sound])
    assert re.search(wrong, table["error"][1]) and table["words"][1] == table["probabilities"][1] == []
    assert table["error"][0] is table["error"][2] is None
    assert table["text"][0] == table["text"][2] == transcriber.predict([sound])["text"][0] != ""


@pytest.mark.parametrize("file", ["names.json", "spread.npy", "settings.json"])
def test_files_of_another_corpus_are_refused(file: str, served: Path) -> None:
    if file == "settings.json":
        settings = json.loads((served / file).read_text())
        (served / file).write_text(json.dumps(settings | {"corpus_digest": "0" * 64}))
    else:
        (served / file).write_bytes((served / file).read_bytes() + b"\n")
    with pytest.raises(ValueError, match="corpus that"):
        Transcriber.load(served)
