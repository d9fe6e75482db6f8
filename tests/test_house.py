"""The laws of the house: which floor may import which, and that dvc.yaml, params.yaml and README say what is so."""

import ast
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import click
import pytest
from dvc.cli import DvcParserError
from dvc.cli.parser import get_main_parser
from ruamel.yaml import YAML

from unrolled.cli import main
from unrolled.settings import ARCH_KEYS, CLIPPING_KEYS, SECTIONS

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src"
PACKAGE = sorted((SRC / "unrolled").rglob("*.py"))
STAGES = sorted((ROOT / "stages").glob("*.py"))
OURS = [*PACKAGE, *STAGES, *sorted((ROOT / "scripts").glob("*.py")), *sorted((ROOT / "benchmarks").glob("*.py"))]

GROUND = {
    "errors",
    "sealed",
    "perplexity",
    "kneser_ney",
    "mixture",
    "bptt",
    "clipping",
    "gradient_norms",
    "measures",
    "corpus",
}
# Floor -> the floors it may import. A folder may import itself, but for `tasks`, which never know each other.
FLOORS: dict[str, set[str]] = {
    "errors": set(),
    "settings": {"errors"},
    "compiled": {"compiled"},
    "bptt": {"errors", "compiled"},
    "clipping": {"errors"},
    "perplexity": {"errors"},
    "kneser_ney": {"errors"},
    "mixture": {"errors"},
    "gradient_norms": {"errors"},
    "measures": {"errors", "perplexity"},
    "sealed": {"errors"},
    "corpus": {"errors", "sealed", "corpus"},
    "nets": {"errors", "bptt", "compiled", "nets"},
    "tasks": {*GROUND, "nets"},
    "lab": {*GROUND, "settings", "nets", "tasks", "lab"},
    "report": {*GROUND, "settings", "nets", "tasks", "lab", "report"},
    "tracking": {*GROUND, "settings", "nets", "tasks", "lab", "report", "tracking"},
    "doctor": {*GROUND, "settings", "nets", "tasks", "lab", "report", "tracking"},
    "cli": {*GROUND, "settings", "nets", "tasks", "lab", "report", "tracking", "doctor"},
    "stages": {*GROUND, "settings", "nets", "tasks", "lab", "report", "tracking"},
}
# Imports inside a function: where -> what, each for start-up time that was measured and is said beside it.
LATE_IMPORTS = {
    "src/unrolled/measures.py": {"sklearn.calibration"},
    "src/unrolled/cli.py": {
        *(f"unrolled.{name}" for name in ("lab.measurements", "lab.trained", "tracking.publishing", "doctor"))
    },
}
MLFLOW = {f"src/unrolled/tracking/{name}.py" for name in ("publishing", "published_model", "under_way")}


class Import(NamedTuple):
    module: str
    late: bool  # inside a function


def shown(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def imports(path: Path) -> tuple[Import, ...]:
    """Every import of a file; `from package import name` counts as the module package.name where there is one."""

    def walk(node: ast.AST, late: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                yield from (Import(alias.name, late) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"{shown(path)}:{child.lineno}: imports are absolute"
                for alias in child.names:
                    inner = f"{child.module}.{alias.name}"
                    yield Import(inner if file_of(inner) else str(child.module), late)
            yield from walk(child, late or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda))

    return tuple(walk(ast.parse(path.read_text(encoding="utf-8")), late=False))


def file_of(module: str) -> Path | None:
    """The file of a module of ours."""
    stem = SRC.joinpath(*module.split("."))
    return next((path for path in (stem.with_suffix(".py"), stem / "__init__.py") if path.is_file()), None)


def ours(path: Path) -> set[Path]:
    """Files of ours that a file imports itself; packages are empty and do not count."""
    files = {file_of(found.module) for found in imports(path) if found.module.split(".")[0] == "unrolled"}
    return {file for file in files if file and file.name != "__init__.py"}


def closure(path: Path) -> set[Path]:
    """Files of ours that a file imports, itself and by way of others."""
    reached: set[Path] = set()
    waiting = [path]
    while waiting:
        new = ours(waiting.pop()) - reached
        reached |= new
        waiting += new
    return reached


def floor_of(path: Path) -> str:
    return "stages" if path.parent.name == "stages" else path.relative_to(SRC / "unrolled").with_suffix("").parts[0]


@cache
def yaml(name: str) -> Any:
    return YAML(typ="safe", pure=True).load((ROOT / name).read_text(encoding="utf-8"))


@cache
def tracked() -> list[str]:
    return subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")


def paths_of(stage: dict[str, Any], kind: str) -> list[str]:
    """Paths under `deps`, `outs` or `metrics` of a stage, whose entries may be mappings with options."""
    return [entry if isinstance(entry, str) else next(iter(entry)) for entry in stage.get(kind, [])]


@pytest.mark.parametrize("path", [path for path in PACKAGE + STAGES if path.name != "__init__.py"], ids=shown)
def test_imports_go_down(path: Path) -> None:
    floor = floor_of(path)
    above = {shown(other) for other in ours(path) if floor_of(other) not in FLOORS[floor]}
    assert not above, f"{shown(path)} stands on the floor '{floor}', which may not import {sorted(above)}"


def test_late_imports_have_a_reason() -> None:
    late = {shown(path): {found.module for found in imports(path) if found.late} for path in OURS}
    assert {path: modules for path, modules in late.items() if modules} == LATE_IMPORTS


def test_mlflow_is_imported_where_it_is_published_to() -> None:
    assert {shown(path) for path in OURS if any(i.module.split(".")[0] == "mlflow" for i in imports(path))} <= MLFLOW


def test_every_package_is_a_declared_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    distribution = {"ruamel": "ruamel.yaml", "sklearn": "scikit-learn", "vl_convert": "vl-convert-python"}
    needed = {*project["dependencies"], *project["optional-dependencies"]["dev"]}
    used = {found.module.split(".")[0] for path in OURS for found in imports(path)}
    used -= {"unrolled", "benchmarks", *sys.stdlib_module_names}
    assert {distribution.get(name, name) for name in used} - set(project["dependencies"]) == set()
    pinned = dict(line.split("==") for line in (ROOT / "requirements.lock").read_text().split() if "==" in line)
    names = {name.lower().replace("_", "-") for name in pinned}
    assert needed <= names
    assert all(re.fullmatch(r"[\w.]+", version) for version in pinned.values()), "a version with a build label"
    contributing = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    unexplained = {name for name in needed if f"`{name}`" not in contributing}
    assert not unexplained, f"CONTRIBUTING.md does not say why: {sorted(unexplained)}"


@pytest.mark.parametrize("path", OURS, ids=shown)
def test_files_stay_small(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    limit = {"__init__.py": 0}.get(path.name, 40 if path in STAGES else 300)
    assert lines <= limit, f"{shown(path)} has {lines} lines; {limit} is the limit"
    assert path.stem not in {"utils", "util", "common", "base", "manager", "helpers"}


def test_stages_are_files() -> None:
    assert set(yaml("dvc.yaml")["stages"]) == {path.stem for path in STAGES}


@pytest.mark.parametrize("stage", yaml("dvc.yaml")["stages"])
def test_deps_of_a_stage_are_what_it_imports(stage: str) -> None:
    """An edit re-runs what it must and nothing else."""
    script = ROOT / "stages" / f"{stage}.py"
    expected = {shown(script), *map(shown, closure(script))}
    named = {dep for dep in paths_of(yaml("dvc.yaml")["stages"][stage], "deps") if dep.endswith(".py")}
    assert f"stages/{stage}.py" in yaml("dvc.yaml")["stages"][stage]["cmd"]
    missing, idle = sorted(expected - named), sorted(named - expected)
    assert not missing and not idle, f"dvc.yaml, stage {stage}: add to deps {missing}, take out {idle}"


def test_params_are_the_fields_of_settings() -> None:
    params = yaml("params.yaml")
    assert list(params) == [*SECTIONS, "arch", "clipping"]
    for name, model in SECTIONS.items():
        assert set(params[name]) == set(model.model_fields) - set(CLIPPING_KEYS), name
    for row in params["arch"].values():
        assert set(row or {}) <= set(ARCH_KEYS)
    for row in params["clipping"].values():
        assert set(row) == set(CLIPPING_KEYS)


@pytest.mark.parametrize("stage", yaml("dvc.yaml")["stages"])
def test_params_of_a_stage_exist(stage: str) -> None:
    assert all(known_param(name) for name in yaml("dvc.yaml")["stages"][stage].get("params", []) if "${" not in name)


def known_param(dotted: str) -> bool:
    node = yaml("params.yaml")
    for key in dotted.split("."):
        if not isinstance(node, dict) or key not in node:
            return False
        node = node[key]
    return True


# README and CONTRIBUTING

DOCUMENTS = ["README.md", "CONTRIBUTING.md"]
FENCED = re.compile(r"^```(\w*)\n(.*?)^```", re.M | re.S)


def prose(document: str) -> str:
    return FENCED.sub("", (ROOT / document).read_text(encoding="utf-8"))


def commands(document: str) -> list[list[str]]:
    """Lines of make, dvc and unrolled in fenced blocks and `code`, without settings before and pipes behind."""
    text = (ROOT / document).read_text(encoding="utf-8")
    blocks = [body for language, body in FENCED.findall(text) if language in {"", "sh", "bash", "console"}]
    lines = [line for body in blocks for line in body.replace("\\\n", " ").splitlines()]
    found = []
    for line in [*lines, *re.findall(r"`([^`\n]+)`", prose(document))]:
        start = re.match(r"(?:\$ )?(?:\w+=\S+ )*(?=(make|dvc|unrolled)( |$))", line)
        if start:
            found.append(shlex.split(re.split(r" [|&;>] ?", line[start.end() :])[0], comments=True))
    return found


@pytest.mark.parametrize("document", DOCUMENTS)
def test_documents_name_commands_that_exist(document: str) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
    for program, *arguments in commands(document):
        line = " ".join([program, *arguments])
        if program == "make":
            assert {word for word in arguments if "=" not in word and not word.startswith("-")} <= targets, line
        elif program == "unrolled":
            command = main.get_command(click.Context(main), arguments[0]) if arguments else main
            assert command is not None, line
            known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
            assert {word.split("=")[0] for word in arguments if word.startswith("--")} <= known, line
        elif arguments:
            try:
                parsed = get_main_parser().parse_args([word for word in arguments if word != "..."])
            except DvcParserError:  # a family of commands, such as `dvc plots`, has help and no more
                with pytest.raises(SystemExit, match="0"):
                    get_main_parser().parse_args([*arguments, "--help"])
                assert not any(word.startswith("-") for word in arguments), line
                continue
            for setting in getattr(parsed, "set_param", None) or []:
                assert setting[0] in "+~" or known_param(setting.split("=")[0]), line
            for target in getattr(parsed, "targets", None) or []:
                stage = str(target).split("@")[0]
                assert parsed.cmd != "repro" or stage in yaml("dvc.yaml")["stages"] or "*" in stage, line


def exists(path: str) -> bool:
    """In the repository, or made by the pipeline or by the set-up."""
    stem = re.split(r"[<{*$]", path)[0].removeprefix("./")
    made = [
        out.split("${")[0]
        for stage in yaml("dvc.yaml")["stages"].values()
        for kind in ("outs", "metrics")
        for out in paths_of(stage, kind)
    ]
    if any(out.startswith(stem) or stem.startswith(out) for out in made):
        return True
    if any(name == stem or name.startswith(stem.rstrip("/") + "/") for name in tracked()) or (ROOT / stem).exists():
        return True
    return subprocess.run(["git", "check-ignore", "-q", stem], cwd=ROOT).returncode == 0


@pytest.mark.parametrize("document", DOCUMENTS)
def test_documents_name_paths_that_exist(document: str) -> None:
    links = [link.split("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", prose(document)) if "://" not in link]
    spans = re.findall(r"`([^`\s]+)`", prose(document))
    suffixes = r"/$|\.(py|md|yaml|toml|json|csv|svg|png|lock|sh|txt|safetensors|parquet|npy)$"
    paths = {path for path in [*links, *(span for span in spans if re.search(suffixes, span))] if path}
    short = {name.rsplit("/", 1)[-1] for name in tracked()}  # a file may be named within its folder
    missing = {path for path in paths - short - {"ruamel.yaml"} if not exists(path)}
    assert not missing, f"{document} names {sorted(missing)}, which are not there"
