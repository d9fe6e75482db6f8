"""What a task has, by its files: a part that is not there is no error, whether its folder is there or not."""

from pathlib import Path

import pytest

import unrolled.tasks
from unrolled.ground.registry import PLACES, has_part, task_names

PARTS = [*PLACES, "settings", "report", "publishing", "commands"]


def put(place: Path, names: list[str]) -> None:
    for name in names:
        path = place.joinpath(*name.split(".")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


@pytest.mark.parametrize("part", PARTS)
def test_a_part_is_there_where_its_file_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    monkeypatch.setattr(unrolled.tasks, "__path__", [str(tmp_path)])
    (tmp_path / "bare").mkdir()
    place = PLACES.get(part, part)
    put(tmp_path / f"with_{part}", [place])
    put(tmp_path / f"beside_{part}", [f"{place}_of_another_name"])
    assert has_part(f"with_{part}", part)
    assert not any(has_part(task, part) for task in (f"beside_{part}", "bare", "none"))


@pytest.mark.parametrize("task", task_names())
def test_every_task_has_what_the_contract_asks_for(task: str) -> None:
    assert all(has_part(task, part) for part in ("settings", "model", "scores", "evaluation", "probes", "report"))
