"""What an edit runs again: what it changes, and nothing else."""

import pytest

from project import ARMS, CONFIGURATIONS, Project, running

TRAINING = {f"train@{arm}" for arm in ARMS}
EVALUATION = {f"evaluate@{arm}" for arm in ARMS}
PROBES = {f"probe@{arm}" for arm in ARMS}
REST = {"compare", "record"}
# A section of settings that no stage reads.
SECTION = """

class Song(Strict):
    verses: Count


SECTIONS |= {"song": Song}
"""


def test_an_override_runs_the_arms_that_inherit_it(project: Project) -> None:
    """Not `rnn`, whose row states its own."""
    said = project.must("dvc", "exp", "run", "-S", "train.learning_rate=10", "resolve")
    assert running(said) == {"resolve"}
    assert running(project.must("dvc", "repro", "--dry")) == {"train@lstm-clipped-1", "train@lstm-unclipped-1"} | REST


def test_another_seed_trains_what_is_new(project: Project) -> None:
    project.must("dvc", "exp", "run", "-S", "seeds=[1,2]", "resolve")
    assert running(project.must("dvc", "repro", "--dry", "train")) == {f"train@{name}-2" for name in CONFIGURATIONS}


def test_a_comment_in_params_runs_resolve_alone(project: Project) -> None:
    project.append("params.yaml", "# edited\n")
    assert running(project.must("dvc", "repro")) == {"resolve"}


@pytest.mark.parametrize(
    ("change", "stages"),
    [
        ({"arch__rnn__learning_rate": 3.0}, {"train@rnn-clipped-1", "train@rnn-unclipped-1"}),
        ({"clipping__clipped__clip_norm": 0.5}, {"train@rnn-clipped-1", "train@lstm-clipped-1"}),
        ({"evaluate__seed": 7}, {"baseline@kneser_ney"} | EVALUATION | PROBES),
        ({"probe__positions": 40}, PROBES),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_an_edited_setting_runs_what_it_must(project: Project, change: dict[str, object], stages: set[str]) -> None:
    project.edit(**change)
    # An evaluation follows where the training that ran gave other weights.
    assert project.would_run() == {"resolve"} | stages | REST


@pytest.mark.parametrize(
    ("file", "stages"),
    [
        ("src/unrolled/recurrence/bptt.py", TRAINING | EVALUATION | PROBES | {"baseline@kneser_ney"} | REST),
        ("src/unrolled/scoring/measures.py", {"baseline@kneser_ney"} | EVALUATION),
        ("src/unrolled/report/tables.py", REST),
        ("src/unrolled/tracking/publish.py", {"record"}),
        ("src/unrolled/settings/messages.py", {"resolve"}),
        ("src/unrolled/shell/progress.py", set()),
    ],
    ids=lambda value: value.split("/")[-1] if isinstance(value, str) else "",
)
def test_an_edited_module_runs_what_has_a_part_in_it(project: Project, file: str, stages: set[str]) -> None:
    project.append(file, "\n# edited\n")
    assert project.would_run() == stages


def test_a_new_section_of_settings_runs_nothing_that_trains(project: Project) -> None:
    project.append("src/unrolled/tasks/language_model/settings.py", SECTION)
    project.edit(song={"verses": 3})
    assert project.would_run() == {"resolve"} | REST
