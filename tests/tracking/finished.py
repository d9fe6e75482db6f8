"""A finished pipeline, written by its own writers: what is published in these tests."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ruamel.yaml import YAML

from miniature import made_of
from unrolled.corpus.vocabulary import build_tokenizer, encode_line
from unrolled.ground.checksums import read_sealed, seal, sha256
from unrolled.ground.corpus import Corpus, Split, Text, corpus_digest
from unrolled.ground.evaluation import Evaluation
from unrolled.ground.registry import task_part
from unrolled.ground.resolved import read_arm, read_resolved
from unrolled.ground.run import Run
from unrolled.ground.score import Sums
from unrolled.probing.probe import probe
from unrolled.recurrence.profile import Addends
from unrolled.recurrence.spectra import Spectrum
from unrolled.scoring.evaluation import Scored, write_evaluation
from unrolled.settings.resolve import resolve
from unrolled.settings.stated import stated, stated_vocabulary
from unrolled.tasks.language_model.model.predictions import SCORE_OF_HEAD
from unrolled.training.clipping import Norms
from unrolled.training.diagnostics import Epoch
from unrolled.training.fit import Step
from unrolled.training.history import History
from unrolled.training.run_directory import write_run
from unrolled.training.training import Training

PARAMS = Path(__file__).parents[2] / "params.yaml"
TASK = "language_model"
TEXT = ["the cat sat on the mat", "the dog sat on the log"] * 800
ARCHS = {"lstm": {"cell": "lstm"}, "bilstm": {"cell": "lstm", "bidirectional": True}}
STEPS, SPIKE_AT = 5000, 3210  # of a run, and where its gradient explodes


def grid(root: Path) -> dict[str, Any]:
    return read_resolved("grid", root / "resolved")


def digest_of(root: Path) -> str:
    """Of the workspace's corpus."""
    digest: str = json.loads((root / "data/corpus.json").read_text(encoding="utf-8"))["digest"]
    return digest


def lay_out(root: Path, archs: dict[str, Any], steps: int, spike_at: int) -> None:
    """Archs with their twins; every run has one step of norm 1000, and lstm-unclipped-1 diverged at its last."""
    params = YAML(typ="safe").load(PARAMS.read_text(encoding="utf-8"))
    params["network"] |= {"embedding": 4, "hidden": 4}
    params["evaluate"] |= {"bootstrap_samples": 10}
    params["probe"] |= {"contexts": [1, 20], "positions": 50, "lyapunov_steps": 20}
    params["arch"] = archs
    YAML().dump(params, root / "params.yaml")
    resolve(root / "params.yaml", root / "resolved")
    (root / "data/encoded").mkdir(parents=True)
    tokenizer = build_tokenizer(TEXT, unit="word")
    tokenizer.save(str(root / "data/encoded/tokenizer.json"))
    settings = {"corpus": stated(params["corpus"]), "vocabulary": stated_vocabulary(params["vocabulary"])}
    seal(root / "data/encoded/manifest.json", {"settings": settings})
    digest = corpus_digest(read_sealed(root / "data/encoded", "manifest.json")["files"])
    report = {"digest": digest, "settings": settings, "types": 9}
    (root / "data/corpus.json").write_text(json.dumps(report), encoding="utf-8")
    tokens = np.array([index for line in TEXT for index in encode_line(tokenizer, line)], dtype=np.uint16)
    split = Split(tokens, np.zeros(1, dtype=np.int64))
    counts = np.bincount(tokens, minlength=tokenizer.get_vocab_size())
    corpus = Corpus(split, split, split, counts, {"test": Text(1000, 1100, 10, 50.0)}, digest)
    for each in grid(root)["arms"]:
        write_arm(root, read_arm(each["arm"], root / "resolved"), corpus, steps, spike_at)
    (root / "report/figures").mkdir(parents=True)
    (root / "report/comparison.md").write_text("| arm |\n", encoding="utf-8")
    (root / "report/figures/norm.svg").write_text("<svg/>", encoding="utf-8")


def write_arm(root: Path, arm: dict[str, Any], corpus: Corpus, steps: int, spike_at: int) -> None:
    name, sizes = arm["arm"], {"vocabulary": len(corpus.counts)}
    settings = read_resolved("probe", root / "resolved")
    own, task = settings["evaluate"], task_part(TASK, "evaluation")
    training = Training.of(arm, sizes)
    history = history_of(training, diverges=name == "lstm-unclipped-1", steps=steps, spike_at=spike_at)
    write_run(root / "runs" / name, training, history, arm, sizes, corpus.digest)
    timing = {"seconds": 12.5, "tokens_per_second": steps * 32 / 12.5, "device": "cpu"}
    timing["run"] = sha256(root / "runs" / name / "summary.json")
    (root / "timings").mkdir(exist_ok=True)
    (root / f"timings/{name}.json").write_text(json.dumps(timing), encoding="utf-8")
    run, scores = Run.read(root / "runs" / name), task_part(TASK, "scores").SCORES
    threes = {scores[0].name: np.full(len(corpus.test.tokens), 3.0)}
    write_evaluation(
        root / "baselines",
        "kneser_ney",
        Scored(threes, corpus.test.document_of_tokens(), threes),
        scores,
        made_of(own, corpus.digest),
    )
    baselines = {"kneser_ney": Evaluation.read(root / "baselines")}
    scored = task.evaluate(run.model(), corpus, own, baselines)
    write_evaluation(root / "evaluation" / name, name, scored, scores, made_of(own, corpus.digest, run, **baselines))
    probe(root / "probes" / name, run, Evaluation.read(root / "evaluation" / name), corpus, settings)


def reseal(root: Path, arm: str, change: Callable[[dict[str, Any]], None]) -> None:
    """Change an arm's scores.json, and have its probes stand on that."""
    scores = root / "evaluation" / arm / "scores.json"

    def stand_on_it(figures: dict[str, Any]) -> None:
        figures["made_of"]["evaluation"] = sha256(scores)

    for folder, file, edit in (("evaluation", "scores.json", change), ("probes", "probe.json", stand_on_it)):
        content = read_sealed(root / folder / arm, file)
        edit(content)
        (root / folder / arm / file).unlink()
        seal(root / folder / arm / file, content)


def history_of(training: Training, *, diverges: bool, steps: int, spike_at: int) -> History:
    """Four epochs of equal length; validation perplexity 90, 80, 70, 60."""
    heads = SCORE_OF_HEAD if len(training.model.stacks) > 1 else ("forward",)
    norms = {"forward.0": torch.logspace(0, -3, 5)}
    addends = {"forward.0": Addends(norms["forward.0"], torch.full((5,), 0.2), torch.tensor(1.0), torch.tensor(0.5))}
    spectra = {"forward.0": {"hidden": Spectrum(0.9, 1.2)}}

    def valid(perplexity: float) -> dict[str, Sums]:
        sums = Sums(math.log(perplexity) * 50, 50)
        return {"loss": sums, **{SCORE_OF_HEAD[head]: sums for head in heads}}

    history = History(training)
    history.add(Epoch(0, 1.0, valid(100), {}, norms, addends, spectra))
    for step in range(1, steps + 1):
        epoch = (step - 1) * 4 // steps + 1
        last = diverges and step == steps
        norm = math.inf if last else 1000.0 if step == spike_at else 0.5 + step / steps
        applied = min(norm, training.options.clip_norm or math.inf)
        loss = math.nan if last else 5 - step / steps
        history.add(Step(step, epoch, 32, loss, 1.0, Norms(norm, applied, {"head": norm})))
        if step % (steps // 4) == 0 and not last:
            history.add(Epoch(epoch, 1.0, valid(100 - 10 * epoch), norms, norms, addends, spectra))
    return history
