"""Recipes: params.yaml takes one over and keeps its comments; what was measured is noted from files, and shown."""

import difflib
import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from ruamel.yaml import YAML

from miniature import environment, made_of
from unrolled.ground.checksums import seal
from unrolled.ground.corpus import Corpus, Split, Text, corpus_digest
from unrolled.ground.evaluation import Evaluation
from unrolled.ground.run import Run
from unrolled.report.ladder import climb, write
from unrolled.report.markdown import number
from unrolled.report.recipe_results import keep
from unrolled.scoring.evaluation import write_evaluation
from unrolled.settings.loader import load_params, sections_of
from unrolled.settings.recipes import applied, measured, names, read, use
from unrolled.shell.cli import main
from unrolled.shell.errors import UserError
from unrolled.tasks.language_model.evaluation.evaluate import BASELINES, evaluate
from unrolled.tasks.language_model.evaluation.scores import SCORES
from unrolled.tasks.language_model.ladder import LADDERS
from unrolled.training.fit import fit
from unrolled.training.history import History
from unrolled.training.run_directory import write_run, write_timings
from unrolled.training.training import Training

ROOT = Path(__file__).parents[1]
RECIPES = names(ROOT / "recipes")
TASK = "language_model"
V = 12

TINY = """
about: a recipe for tests
rungs:
  - title: tiny
    arms: [tiny-clipped-1, tiny-clipped-2]
    published: {valid: 12.5, test: 11.5, source: nobody}
  - title: tiny with n-grams
    arms: [tiny-clipped-1, tiny-clipped-2]
    score: interpolated_perplexity
  - title: tiny, not clipped
    arms: [tiny-unclipped-1]
    published: {ratio: [0.5, 0.75], source: nobody}
    ratio_to: tiny
  - title: n-grams
    arms: [kneser_ney]
params:
  network: {embedding: 6, hidden: 6}
  train: {epochs: 2, columns: 4, window: 8, learning_rate: 2.0}  # a comment of the recipe's
  arch:
    tiny: {cell: lstm}
  seeds: [1, 2]
"""


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the project's params.yaml and one recipe."""
    shutil.copy(ROOT / "params.yaml", tmp_path)
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "tiny.yaml").write_text(TINY)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def train_and_score(name: str, **train: Any) -> None:
    """What the stages leave of one arm of the recipe, and of the n-gram model."""
    _, params = applied("tiny")
    arm = params.arms[name] | {"train": params.arms[name]["train"] | train}
    settings = params.sections["evaluate"]
    tokens = (np.cumsum(np.random.default_rng(0).integers(0, 3, 700)) % V).astype(np.uint16)
    splits = [Split(part, np.array([0])) for part in np.split(tokens, (400, 550))]
    digest = corpus_digest({})
    corpus = Corpus(*splits, np.bincount(tokens[:400], minlength=V), {"test": Text(500, 500, 0, 0.0)}, digest)
    Path("data/encoded").mkdir(parents=True, exist_ok=True)
    of_corpus = {name: params.sections[name] for name in ("corpus", "vocabulary")}
    Path("data/corpus.json").write_text(json.dumps({"digest": digest, "settings": of_corpus}))
    Path("data/encoded/manifest.json").write_text(json.dumps({"settings": of_corpus, "files": {}}))
    sizes, runs, timings = {"vocabulary": V}, Path("runs"), Path("timings")
    training = Training.of(arm, sizes)
    history = History(training)
    for record in fit(training, corpus.train, corpus.valid):
        history.add(record)
    write_run(runs / name, training, history, arm, sizes, corpus.digest)
    write_timings(name, training, history, 120.0, "cpu")
    for baseline, score in BASELINES.items():
        write_evaluation(
            Path("baselines") / baseline, baseline, score(corpus, settings), SCORES, made_of(settings, corpus.digest)
        )
        (timings / f"{baseline}.json").write_text('{"seconds": 14.2}')
    baselines = {baseline: Evaluation.read(Path("baselines") / baseline) for baseline in BASELINES}
    scored = evaluate(training.model, corpus, settings, baselines)
    made = made_of(settings, corpus.digest, run=Run.read(runs / name), **baselines)
    write_evaluation(Path("evaluation") / name, name, scored, SCORES, made)


@pytest.mark.parametrize("name", [name for name in RECIPES if read(name, ROOT / "recipes").rungs])
def test_a_recipe_says_all_that_a_training_depends_on(name: str) -> None:
    """So that it gives the same run whatever stood in params.yaml before; and its rungs name arms of its grid."""
    recipe = read(name, ROOT / "recipes")
    for section in ("vocabulary", "network", "train"):
        assert set(recipe.params[section]) == set(sections_of(TASK)[section].model_fields), section
    assert recipe.params["corpus"]["name"] in LADDERS and {"arch", "clipping"} <= set(recipe.params)
    assert {"temperatures", "cache_windows", "dynamic_rates"} <= set(recipe.params["evaluate"])
    _, params = applied(name, ROOT / "params.yaml", ROOT / "recipes")
    assert {arm for rung in recipe.rungs for arm in rung.arms} - set(BASELINES) == set(params.arms)


@pytest.mark.parametrize("file", sorted((ROOT / "pipelines").glob("*/recipes/*.yaml")), ids=lambda file: file.stem)
def test_a_recipe_of_another_pipeline_is_valid_there(file: Path) -> None:
    _, params = applied(file.stem, file.parents[1] / "params.yaml", file.parent)
    assert params.arms


@pytest.mark.parametrize("name", RECIPES)
def test_arms_of_a_rung_differ_by_their_seed_alone(name: str) -> None:
    _, params = applied(name, ROOT / "params.yaml", ROOT / "recipes")
    for rung in read(name, ROOT / "recipes").rungs:
        of_rung = [params.arms[arm] for arm in rung.arms if arm not in BASELINES]
        assert len({each["train"]["seed"] for each in of_rung}) == len(of_rung)
        for each in of_rung[1:]:
            assert each["network"] == of_rung[0]["network"]
            assert each["train"] | {"seed": None} == of_rung[0]["train"] | {"seed": None}


def test_using_a_recipe_changes_values_and_keeps_all_else(workspace: Path) -> None:
    before = (workspace / "params.yaml").read_text().splitlines()
    result = CliRunner().invoke(main, ["use", "tiny"])
    assert result.exit_code == 0 and "dvc repro" in result.output
    after = (workspace / "params.yaml").read_text().splitlines()
    changed = [line for line in difflib.ndiff(before, after) if line[:2] in ("- ", "+ ")]
    assert not [line for line in changed if line.startswith("- ") and line.strip("- ").startswith("#")]
    comments = [line.split("#", 1)[1] for line in before if "#" in line]
    assert [line.split("#", 1)[1] for line in after if "#" in line][: len(comments)] == comments
    params = load_params()
    assert list(params.arms) == ["tiny-clipped-1", "tiny-clipped-2", "tiny-unclipped-1", "tiny-unclipped-2"]
    network, train = (params.arms["tiny-clipped-2"][section] for section in ("network", "train"))
    assert (network["hidden"], train["seed"], train["window"]) == (6, 2, 8)
    assert params.sections["corpus"]["name"] == "python-docs"  # the recipe says nothing of it
    use("tiny")
    assert (workspace / "params.yaml").read_text().splitlines() == after
    assert sorted(path.name for path in workspace.iterdir()) == ["params.yaml", "recipes"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (TINY.replace("hidden: 6", "hidden: 7"), "recipe 'tiny' in params.yaml: 'network': tied weights need"),
        (TINY.replace("window: 8", "windw: 8"), "recipe 'tiny' in params.yaml: unknown key 'train.windw'"),
        ("about: [", "recipes/tiny.yaml is not valid YAML"),
        ("about: x\nrungs: {}\nparams: {}", "recipes/tiny.yaml is not a recipe"),
    ],
)
def test_a_recipe_that_does_not_fit_changes_nothing(workspace: Path, text: str, message: str) -> None:
    (workspace / "recipes" / "tiny.yaml").write_text(text)
    before = (workspace / "params.yaml").read_bytes()
    result = CliRunner().invoke(main, ["use", "tiny"])
    assert result.exit_code == 1 and message in result.stderr and result.stderr.count("\n") == 1
    assert (workspace / "params.yaml").read_bytes() == before
    assert sorted(path.name for path in workspace.iterdir()) == ["params.yaml", "recipes"]


@pytest.mark.parametrize("call", ["pathlib.Path.mkdir", "pathlib.Path.write_text", "os.replace"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES])
def test_params_that_cannot_be_written_stay_as_they_were(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    """On a full disk, in a folder that is not the user's: told in one line, and nothing is left beside them."""
    before = (workspace / "params.yaml").read_bytes()

    def refuse(path: Path, *_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(call, refuse)
    result = CliRunner().invoke(main, ["use", "tiny"])
    monkeypatch.undo()
    assert result.exit_code == 1 and result.stderr.count("\n") == 1 and os.strerror(number) in result.stderr
    assert (workspace / "params.yaml").read_bytes() == before
    assert sorted(path.name for path in workspace.iterdir()) == ["params.yaml", "recipes"]


def test_an_unknown_recipe_is_one_line_that_names_those_there_are(workspace: Path) -> None:
    for command in ("use", "keep"):
        result = CliRunner().invoke(main, [command, "tinny"])
        assert result.exit_code == 1 and "no recipe 'tinny'" in result.stderr and "tiny" in result.stderr


def test_what_makes_no_rung_of_a_ladder_is_not_kept(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (workspace / "recipes" / "trial.yaml").write_text("about: an experiment\nparams: {train: {epochs: 1}}\n")
    result = CliRunner().invoke(main, ["keep", "trial"])
    assert result.exit_code == 1 and "recipe 'trial' is an experiment: it has no rungs" in result.stderr
    monkeypatch.setattr("unrolled.report.recipe_results.has_part", lambda task, part: False)  # as of tagging
    result = CliRunner().invoke(main, ["keep", "tiny"])
    assert result.exit_code == 1 and "there is no ladder of language_model to keep recipe 'tiny'" in result.stderr
    assert result.stderr.count("\n") == 1 and not Path("docs").exists() and not Path("recipes/tiny.json").exists()


def test_what_a_run_reached_is_noted_from_its_files(workspace: Path) -> None:
    train_and_score("tiny-clipped-1")
    assert keep("tiny") == ["tiny-clipped-1", "kneser_ney"]
    train_and_score("tiny-clipped-2")
    shutil.rmtree("runs/tiny-clipped-1")
    assert keep("tiny") == ["tiny-clipped-2", "kneser_ney"]  # and the first one's note stays
    noted = measured("tiny")
    assert set(noted) == {"tiny-clipped-1", "tiny-clipped-2", "kneser_ney"}
    scores = json.loads(Path("evaluation/tiny-clipped-2/scores.json").read_text())
    note = noted["tiny-clipped-2"]
    assert note["seed"] == 2 and note["seconds"] == 120 and len(note["valid_by_epoch"]) == 2
    for name in ("forward_perplexity", "interpolated_perplexity", "reset_perplexity"):
        assert note["scores"][name] == scores["scores"][name]["value"]
        assert note["scores"][f"{name}_interval"] == scores["scores"][name]["interval"]
    assert note["valid_perplexity"] == pytest.approx(min(value for _, value in note["valid_by_epoch"]))


def test_a_note_has_the_keys_that_those_in_the_repository_have(workspace: Path) -> None:
    train_and_score("tiny-clipped-1")
    keep("tiny")
    kept, noted = (json.loads((folder / "recipes" / name).read_text()) for folder, name in
                   ((ROOT, "ptb-lstm-small.json"), (workspace, "tiny.json")))  # fmt: skip
    adapting = {"cache", "cache_perplexity", "cache_perplexity_interval"}
    adapting |= {each.replace("cache", "dynamic") for each in adapting}  # which the settings did not ask for
    for arm, old in (("tiny-clipped-1", kept["lstm-clipped-1"]), ("kneser_ney", kept["kneser_ney"])):
        assert set(noted[arm]) - {"made_with"} == set(old)  # noted since
        assert set(noted[arm]["scores"]) == set(old["scores"]) - adapting


def test_a_run_of_other_settings_is_not_noted(workspace: Path) -> None:
    train_and_score("tiny-clipped-1", epochs=1)
    with pytest.raises(UserError, match=r"tiny-clipped-1 was trained with train\.epochs 1, not 2"):
        keep("tiny")
    assert not Path("recipes/tiny.json").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda: remake("corpus", "name", "brown"), "corpus.name brown, not "),
        (lambda: remake("vocabulary", "unit", "character"), "unit character, not"),
        (lambda: restate("data/corpus.json", "settings", "corpus", "name", "brown"), "is not of the corpus in"),
        (lambda: restate("data/corpus.json", "digest", "another"), "is not of the corpus in"),
        (lambda: rescore("evaluation/tiny-clipped-1", "corpus", "another"), "made from another corpus"),
        (
            lambda: rescore("evaluation/tiny-clipped-1", "settings", "seed", 99),
            "tiny-clipped-1 was made with other settings",
        ),
        (lambda: rescore("evaluation/tiny-clipped-1", "run", "another"), "was made from another training"),
        (
            lambda: rescore("baselines/kneser_ney", "settings", "ngram_order", 2),
            "kneser_ney was made with other",
        ),
    ],
)
def test_figures_of_something_else_are_not_noted(workspace: Path, change: Callable[[], None], message: str) -> None:
    train_and_score("tiny-clipped-1")
    change()
    with pytest.raises(UserError, match=message):
        keep("tiny")
    assert not Path("recipes/tiny.json").exists()


def test_seeds_of_another_recipe_are_not_noted_beside_these(workspace: Path) -> None:
    """A recipe that was edited since: the mean over both would be nobody's."""
    for arm in ("tiny-clipped-1", "tiny-clipped-2"):
        train_and_score(arm)
    keep("tiny")
    before = Path("recipes/tiny.json").read_bytes()
    Path("recipes/tiny.yaml").write_text(TINY.replace("learning_rate: 2.0", "learning_rate: 8.0"))
    shutil.rmtree("runs/tiny-clipped-2")
    train_and_score("tiny-clipped-1")
    with pytest.raises(UserError, match=r"has tiny-clipped-1 and tiny-clipped-2, which were made with different"):
        keep("tiny")
    assert Path("recipes/tiny.json").read_bytes() == before


def test_a_seed_profiled_less_often_stands_beside_the_others(workspace: Path) -> None:
    """As on a GPU, which is twice as fast then: that setting says what is measured, not what is trained."""
    train_and_score("tiny-clipped-1")
    train_and_score("tiny-clipped-2", profile_every=1000)
    assert keep("tiny") == ["tiny-clipped-1", "tiny-clipped-2", "kneser_ney"]
    assert len({note["made_with"] for arm, note in measured("tiny").items() if arm != "kneser_ney"}) == 1


def test_the_ladders_intervals_are_of_one_confidence(workspace: Path) -> None:
    text = Path("params.yaml").read_text()
    Path("params.yaml").write_text(text.replace("confidence: 0.95", "confidence: 0.9"))
    train_and_score("tiny-clipped-1")
    with pytest.raises(UserError, match=r"the ladder has 95% intervals, and evaluate\.confidence is 0\.9"):
        keep("tiny")


def remake(*keys: Any) -> None:
    """Set one key of the settings that the corpus was made with."""
    for file in ("data/corpus.json", "data/encoded/manifest.json"):
        restate(file, "settings", *keys)


def restate(file: str, *keys: Any) -> None:
    """Set one key of a JSON file: its path, then the value."""
    content = json.loads(Path(file).read_text())
    *path, key, value = keys
    reduce(dict.__getitem__, path, content)[key] = value
    Path(file).write_text(json.dumps(content))


def rescore(folder: str, *keys: Any) -> None:
    """The same of what an evaluation was made of, sealed anew."""
    file = Path(folder, "scores.json")
    restate(str(file), "made_of", *keys)
    content = json.loads(file.read_text())
    file.unlink()
    seal(file, {name: value for name, value in content.items() if name not in ("files", "seal")})


def test_the_ladder_shows_every_rung(workspace: Path) -> None:
    for arm in ("tiny-clipped-1", "tiny-clipped-2", "tiny-unclipped-1"):
        train_and_score(arm)
    keep("tiny")
    ladder = climb(TASK)
    heights = [step.height for step in ladder.steps]
    assert heights == sorted(heights, reverse=True)
    write(ladder, Path("docs"))
    page = Path("docs/ladder.md").read_text()
    rows = {cells[0]: cells for cells in _cells(page)}
    noted = measured("tiny")
    tests = [noted[arm]["scores"]["forward_perplexity"] for arm in ("tiny-clipped-1", "tiny-clipped-2")]
    mean = sum(tests) / 2
    assert rows["tiny"][1] == "12.50 / 11.50" and rows["tiny"][5] == "2" and rows["tiny"][6].startswith("2.0 on ")
    assert rows["tiny"][3] == f"{number(mean)} ± {number(abs(tests[0] - mean))}"
    assert rows["tiny, not clipped"][1] == "0.5 to 0.75 times" and rows["tiny, not clipped"][3].endswith(" times")
    assert rows["n-grams"][3] == number(noted["kneser_ney"]["scores"]["forward_perplexity"])
    assert rows["n-grams"][5] == ""  # no seeds
    assert "tiny with n-grams" in rows
    figures = Path("docs/ladder.svg").read_bytes(), page
    write(climb(TASK), Path("docs"))
    assert figures == (Path("docs/ladder.svg").read_bytes(), Path("docs/ladder.md").read_text())
    listed = CliRunner().invoke(main, ["recipes"]).output
    assert f"valid {noted['tiny-clipped-1']['valid_perplexity']:.2f}" in listed and "published: test 11.5" in listed
    assert "2 minutes a seed" in listed and "; 14 seconds (" in listed
    noted["tiny-clipped-2"] |= {"seconds": 600.0, "threads": 64}
    Path("recipes/tiny.json").write_text(json.dumps(noted))
    write(climb(TASK), Path("docs"))
    assert ", 10.0 on 64 threads |" in Path("docs/ladder.md").read_text()
    assert "; 2 to 10 minutes a seed" in CliRunner().invoke(main, ["recipes"]).output
    noted["tiny-clipped-2"]["seconds"] = 120.0
    Path("recipes/tiny.json").write_text(json.dumps(noted).replace('"cpu"', '"a GPU"'))
    write(climb(TASK), Path("docs"))
    assert "| 2.0 on a GPU |" in Path("docs/ladder.md").read_text()


def test_each_corpus_has_a_ladder_of_its_own() -> None:
    """Perplexities of different texts do not compare."""
    folder = ROOT / "recipes"
    penn, wiki = ({step.recipe for step in climb(TASK, folder, corpus=name).steps} for name in ("ptb", "wikitext-2"))
    assert "ptb-lstm-tied" in penn and "wikitext-2-lstm-tied" in wiki and not penn & wiki


def test_a_ladder_on_which_nobody_stood_can_be_shown(workspace: Path) -> None:
    write(climb(TASK), Path("docs"))
    assert "| tiny | 12.50 / 11.50 |  |  |" in Path("docs/ladder.md").read_text()
    assert "not measured here yet" in CliRunner().invoke(main, ["recipes"]).output


def test_a_listing_whose_reader_has_gone_ends_without_a_word() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    words = [sys.executable, "-m", "unrolled.shell.cli", "recipes"]
    listing = subprocess.run(words, env=environment(), stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert listing.returncode != 0 and listing.stderr == b""


def _cells(page: str) -> list[list[Any]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line.startswith("|")]


def test_the_page_in_the_repository_is_what_the_notes_say(tmp_path: Path) -> None:
    for corpus, words in LADDERS.items():
        write(climb(TASK, ROOT / "recipes", corpus=corpus), tmp_path)
        assert (tmp_path / f"{words.page}.md").read_text() == (ROOT / f"docs/{words.page}.md").read_text()
    page = (tmp_path / "ladder.md").read_text()
    rows = {cells[0]: cells for cells in _cells(page)}
    assert rows["rung"][3:5] == ["here: test", "pseudo-perplexity, test"]
    assert rows["LSTM tied, as AWD-LSTM, at the best softmax temperature"][3].endswith(", temperature 1.05")
    assert rows["BiLSTM small, forward head"][3] and not rows["BiLSTM small, forward head"][4]
    assert rows["BiLSTM small, joined head"][4] and not rows["BiLSTM small, joined head"][3]
    assert "joined head" not in (tmp_path / "ladder.svg").read_text()
    assert "BiLSTM small, joined head: pseudo-perplexity, test" in CliRunner().invoke(main, ["recipes"]).output


def test_recipes_are_yaml_that_the_strict_reader_takes() -> None:
    for name in RECIPES:
        YAML(typ="safe", pure=True).load((ROOT / "recipes" / f"{name}.yaml").read_text())
