"""The laws of the house: which floor may import which, and that dvc.yaml, params.yaml and README say what is so."""

import ast
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any, NamedTuple

import click
import pytest
from dvc.cli import DvcParserError
from dvc.cli.parser import get_main_parser
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from ruamel.yaml import YAML

import unrolled
from unrolled.ground.registry import PLACES, task_names
from unrolled.settings.loader import arch_keys, sections_of
from unrolled.settings.sections import ClippingSettings
from unrolled.shell.cli import main

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src"
PACKAGE = sorted((SRC / "unrolled").rglob("*.py"))
FRONT_DOOR = SRC / "unrolled" / "__init__.py"
STAGES = sorted((ROOT / "stages").glob("*.py"))
OURS = [*PACKAGE, *STAGES, *sorted((ROOT / "scripts").glob("*.py")), *sorted((ROOT / "benchmarks").glob("*.py"))]

# What only talks to the user, or sees to memory: every room may use it, and none of it changes a result.
TALKING = "errors", "endings", "redaction", "workspace", "store", "device", "rows", "malloc"
TALK = {f"shell.{name}" for name in TALKING}
MODEL = {"ground", "recurrence", "task/model"}
TRAINING = {"ground", "recurrence", "training"}
SCORING = {"ground", "scoring", "probing", *TRAINING}
# A task whose network is made of another's: what it may import there.
BUILDS_ON = {"speech": {f"tasks/language_model/model/{module}.py" for module in ("network", "feeding")}}
# Room -> the rooms it may import beside itself and TALK; rooms of a task are named task/<part>.
FLOORS: dict[str, set[str]] = {
    "ground": set(),
    "recurrence": {"ground"},
    "corpus": {"ground"},
    "settings": {"ground"},
    "training": {"ground", "recurrence"},
    "scoring": {"ground"},
    "probing": {"ground", "recurrence", "training"},
    "library": {"ground", "recurrence", "training", "probing"},  # on which no room and no stage stands
    "task/settings": {"ground", "settings"},
    "task/corpus": {"ground", "corpus"},
    "task/model": {"ground", "recurrence"},
    "task/evaluation": {"scoring", "training", *MODEL},  # a baseline may have to be trained
    "task/probes": {"probing", *MODEL},
    "task/text": {"corpus", "task/corpus", *MODEL},
    "task/audio": {"task/corpus", *MODEL},
    "task/picture": {"ground", "report"},
    "task/report": {
        "corpus",
        "task/evaluation",
        "task/finishing",
        "task/picture",
        "task/text",
        "report",
        *MODEL,
        *SCORING,
    },
    "task/finishing": {"task/evaluation", "report", *MODEL, *SCORING},
    "task/over_folds": {"report", "task/corpus"},
    "task/distances": {"ground", "report"},
    "task/units": {"report"},
    "task/lecture": {"report"},
    "task/explain": {"corpus", "probing", "task/text", *MODEL},
    "task/loaded": {"corpus", "task/text", *MODEL},
    "task/commands": {
        *("ground", "corpus", "report", "task/text", "task/audio"),
        *(f"task/{name}" for name in ("over_folds", "distances", "explain", "units", "picture")),
    },
    "task/publishing": {"task/evaluation", "task/text", *MODEL, *SCORING},
    "report": {"settings", *SCORING},
    "tracking": {"report", *SCORING},
    "cluster": {"ground"},
    "shell": {"cluster", "corpus", "settings", "report", "tracking", *SCORING},
    "stages": {"corpus", "settings", "report", "tracking", "shell", *SCORING},
}
# Imports inside a function: where -> what, each for start-up time that was measured and is said beside it, or because
# only who installed the laboratory has it.
LATE_IMPORTS = {
    "src/unrolled/__init__.py": {"importlib.metadata"},
    "src/unrolled/corpus/files/packed.py": {"pyarrow"},
    "src/unrolled/corpus/plain_text.py": {"unrolled.corpus.made_up"},
    "src/unrolled/corpus/files/rows.py": {"pyarrow", "pyarrow.parquet"},
    "src/unrolled/ground/run.py": {"pandas"},
    **{
        f"src/unrolled/recurrence/{path}.py": {f"unrolled.recurrence.compiled.{kernels}"}
        for path, kernels in (("bptt", "time_loops"), ("dropout", "masks"), ("softmax_loss", "softmax"))
    },
    "src/unrolled/library/trained.py": {f"unrolled.ground.{name}" for name in ("registry", "trained")},
    "src/unrolled/corpus/stretches.py": {"pyarrow"},
    **{f"src/unrolled/corpus/{path}.py": {"unrolled.corpus.type_counts"} for path in ("encode", "vocabulary")},
    "src/unrolled/tasks/classification/commands.py": {
        f"unrolled.tasks.classification.{name}" for name in ("over_folds", "text.inference")
    },
    "src/unrolled/tasks/language_model/commands.py": {
        f"unrolled.tasks.language_model.{name}"
        for name in ("distances", "explain", "text.formats", "text.inference", "units")
    },
    "src/unrolled/tasks/speech/commands.py": {
        f"unrolled.tasks.speech.{name}" for name in ("audio.inference", "picture")
    },
    "src/unrolled/tasks/tagging/commands.py": {f"unrolled.tasks.tagging.text.{name}" for name in ("formats", "tagger")},
    "src/unrolled/settings/start.py": {"mlflow.artifacts", "mlflow.exceptions"},
    "src/unrolled/shell/cli.py": {
        *(f"unrolled.cluster.{name}" for name in ("client", "queued", "start")),
        *(f"unrolled.report.{name}" for name in ("ladder", "lecture", "recipe_results")),
        *(f"unrolled.shell.{name}" for name in ("doctor", "dvc_leftovers", "store")),
        *(f"unrolled.tracking.{name}" for name in ("relocation", "ui")),
        "unrolled.corpus.of_task",
    },
    "src/unrolled/shell/entry.py": {"unrolled.shell.cli"},
    "stages/record.py": {"unrolled.tracking.publish"},
}
MLFLOW = {
    "src/unrolled/settings/start.py",  # a model may be what a training starts from
    *(f"src/unrolled/tracking/{name}.py" for name in ("connection", "publish", "published_model", "ui", "unfinished")),
}


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


def at_once(folder: Path) -> set[Path]:
    """Files of ours that are imported with those of a folder, but for what a function imports."""
    reached = set(folder.glob("*.py"))
    waiting = list(reached)
    while waiting:
        found = {file_of(each.module) for each in imports(waiting.pop()) if not each.late}
        new = {path for path in found if path} - reached
        reached |= new
        waiting += new
    return reached


def room_of(path: Path) -> str:
    """A folder below src/unrolled; of a task its part, of shell/ the file where all may import it."""
    if path.parent.name == "stages":
        return "stages"
    parts = path.relative_to(SRC / "unrolled").with_suffix("").parts
    if parts[0] == "tasks" and len(parts) > 2:
        return f"task/{parts[2]}"
    return ".".join(parts[:2]) if ".".join(parts[:2]) in TALK else parts[0]


def task_of(path: Path) -> str | None:
    parts = path.relative_to(ROOT).parts
    return parts[3] if parts[:3] == ("src", "unrolled", "tasks") and len(parts) > 4 else None


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
    room = room_of(path)
    allowed = TALK | {room} | FLOORS[room if room in FLOORS else "ground"]
    above = {shown(other) for other in ours(path) if room_of(other) not in allowed}
    assert not above, f"{shown(path)} stands in the room '{room}', which may not import {sorted(above)}"


def test_no_two_files_need_each_other() -> None:
    """Nor any more of them in a circle, by a late import either: each can be read with what it stands on."""
    TopologicalSorter({path: ours(path) for path in PACKAGE if path != FRONT_DOOR}).prepare()


@pytest.mark.parametrize("path", PACKAGE + STAGES, ids=shown)
def test_no_room_names_a_task(path: Path) -> None:
    """But for the task itself, and one that builds on its network: all else finds it through ground/registry.py."""
    allowed = BUILDS_ON.get(task_of(path) or "", set())
    others = {shown(other) for other in ours(path) if task_of(other) not in (None, task_of(path))}
    named = {each for each in others if not each.endswith(tuple(allowed) or ("/",))}
    assert not named, f"{shown(path)} imports {named}"


WORDS = re.compile(r"_perplexity\b|vocabulary_size|\beos\b(?!>)")
OF_TASKS = re.compile(r"\bSCORES = |[\"']forward[\"']")  # what any task may say, and no other room


@pytest.mark.parametrize("path", PACKAGE + STAGES, ids=shown)
def test_only_the_language_model_speaks_of_what_is_its_own(path: Path) -> None:
    if task_of(path) == "language_model" or room_of(path) == "corpus" or path.name == "special_tokens.py":
        return
    lines = list(enumerate(path.read_text(encoding="utf-8").splitlines(), 1))
    words = [WORDS] if task_of(path) else [WORDS, OF_TASKS]
    found = [f"{number}: {line.strip()}" for number, line in lines if any(each.search(line) for each in words)]
    assert not found, f"{shown(path)} knows the language model: {found}"


def test_text_is_cut_into_lines_in_one_place() -> None:
    """`lines_of` of the corpus; str.splitlines cuts at U+2028, form feeds and others as well."""
    rooms = [path for path in PACKAGE if {"corpus", "tasks"} & set(path.parts)]
    assert [shown(path) for path in rooms if ".splitlines(" in path.read_text(encoding="utf-8")] == []


def test_late_imports_have_a_reason() -> None:
    late = {shown(path): {found.module for found in imports(path) if found.late} for path in OURS}
    assert {path: modules for path, modules in late.items() if modules} == LATE_IMPORTS


def test_numba_comes_with_the_first_kernel_that_is_called() -> None:
    """And not with `import unrolled`: it takes ten times as long as all the rest of the library."""
    early = {
        found.module
        for path in PACKAGE
        if room_of(path) in ("recurrence", "library") and path.parent.name != "compiled"
        for found in imports(path)
        if not found.late
    }
    assert {module for module in early if "compiled." in module} == {"unrolled.recurrence.compiled.dispatch"}
    assert not [each for each in imports(SRC / "unrolled/recurrence/compiled/dispatch.py") if "numba" in each.module]
    assert not {"numba", "llvmlite"} & {module.split(".")[0] for module in early}


def test_mlflow_is_imported_where_it_is_published_to_or_read_from() -> None:
    assert {shown(path) for path in OURS if any(i.module.split(".")[0] == "mlflow" for i in imports(path))} <= MLFLOW


def test_every_package_is_a_declared_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    distribution = {
        "PIL": "pillow",
        "charset_normalizer": "charset-normalizer",
        "kaldi_native_fbank": "kaldi-native-fbank",
        "pycrfsuite": "python-crfsuite",
        "ruamel": "ruamel.yaml",
        "sklearn": "scikit-learn",
        "vl_convert": "vl-convert-python",
    }
    of_library = {Requirement(each).name for each in project["dependencies"]}
    of_project = of_library | set(project["optional-dependencies"]["lab"])
    needed = of_project | set(project["optional-dependencies"]["dev"])
    used = {found.module.split(".")[0] for path in OURS for found in imports(path)}
    used -= {"unrolled", "benchmarks", *sys.stdlib_module_names}
    assert {distribution.get(name, name) for name in used} - of_project == set()
    files = at_once(FRONT_DOOR.parent / "library")
    library = {found.module.split(".")[0] for path in files for found in imports(path) if not found.late}
    assert library - {"unrolled", *sys.stdlib_module_names} <= of_library, "the library needs what it does not install"
    pinned = set(re.findall(r"^([\w.-]+)==", (ROOT / "requirements.lock").read_text(), re.M))
    assert {canonicalize_name(name) for name in needed} <= pinned
    contributing = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    unexplained = {name for name in needed if f"`{name}`" not in contributing}
    assert not unexplained, f"CONTRIBUTING.md does not say why: {sorted(unexplained)}"


@pytest.mark.parametrize("path", OURS, ids=shown)
def test_files_stay_small(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    limit = 0 if path.name == "__init__.py" and path != FRONT_DOOR else 40 if path in STAGES else 300
    assert lines <= limit, f"{shown(path)} has {lines} lines; {limit} is the limit"
    assert path.stem not in {"utils", "util", "common", "base", "manager", "helpers"}


def test_the_front_door_opens_at_a_touch_and_onto_the_library_alone() -> None:
    """Stages come through it too: they wait for no import of others' names, and an edit of it changes no result."""
    tree = ast.parse(FRONT_DOOR.read_text(encoding="utf-8"))
    at_once = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert {node.module for node in at_once if isinstance(node, ast.ImportFrom)} == {"importlib", "typing"}
    for checkers in (found.module for found in imports(FRONT_DOOR) if found.module.startswith("unrolled")):
        assert checkers.startswith("unrolled.library.")
    assert sorted(unrolled._PLACES) == sorted(unrolled.__all__) and set(unrolled.__all__) <= set(dir(unrolled))
    assert all(getattr(unrolled, name).__doc__ for name in unrolled.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'LTSM'; it has "):
        unrolled.LTSM  # noqa: B018


def test_stages_are_files() -> None:
    for pipeline in PIPELINES:
        assert set(yaml(f"{pipeline}/dvc.yaml")["stages"]) == {path.stem for path in STAGES}


# The parts of its task that a stage asks for by name, which no import shows.
PARTS = {
    "resolve": {"settings"},
    "fetch": {"corpus"},
    "preprocess": {"corpus"},
    "vocabulary": {"corpus"},
    "train": {"model"},
    "baseline": {"evaluation", "scores"},
    "evaluate": {"model", "evaluation", "scores"},
    "probe": {"model", "probes"},
    "compare": {"model", "scores", "report"},
    "record": {"model", "scores", "publishing"},
}


def needed(stage: str, task: str) -> set[Path]:
    """The files that a stage runs, but for what only talks: shell/ and what that alone imports."""
    script = ROOT / "stages" / f"{stage}.py"
    parts = {
        SRC / "unrolled" / "tasks" / task / f"{PLACES.get(part, part).replace('.', '/')}.py"
        for part in PARTS.get(stage, ())
    }
    parts = {part for part in parts if part.is_file()}  # a task of plain text has no part `corpus`
    reached, waiting = {script, *parts}, [script, *parts]
    while waiting:
        new = {path for path in ours(waiting.pop()) if "shell" not in path.parts} - reached
        reached |= new
        waiting += new
    return reached


PIPELINES = [".", *(f"pipelines/{path.parent.name}" for path in sorted((ROOT / "pipelines").glob("*/dvc.yaml")))]
of_pipelines = pytest.mark.parametrize(
    ("pipeline", "stage"), [(place, stage) for place in PIPELINES for stage in yaml(f"{place}/dvc.yaml")["stages"]]
)


@of_pipelines
def test_deps_of_a_stage_hold_what_it_imports(pipeline: str, stage: str) -> None:
    """An edit re-runs what it must and nothing else: all that a stage imports lies in its deps, and none is idle."""
    content, task = yaml(f"{pipeline}/dvc.yaml")["stages"][stage], yaml(f"{pipeline}/params.yaml")["task"]
    named = [(ROOT / pipeline / dep).resolve() for dep in paths_of(content, "deps")]
    deps = [dep for dep in named if dep.is_relative_to(SRC) or dep.is_relative_to(ROOT / "stages")]
    files = needed(stage, task)
    assert f"stages/{stage}.py" in content["cmd"]
    outside = sorted(shown(file) for file in files if not any(file.is_relative_to(dep) for dep in deps))
    idle = sorted(shown(dep) for dep in deps if not any(file.is_relative_to(dep) for file in files))
    assert not outside and not idle, f"{pipeline}, stage {stage}: deps must hold {outside}; take out {idle}"
    assert not any("shell" in dep.parts for dep in deps)


@of_pipelines
def test_only_resolve_depends_on_params(pipeline: str, stage: str) -> None:
    content = yaml(f"{pipeline}/dvc.yaml")["stages"][stage]
    assert "params" not in content and ("params.yaml" in paths_of(content, "deps")) == (stage == "resolve")


def test_the_pipeline_reads_in_one_sitting() -> None:
    for pipeline in PIPELINES:
        assert len((ROOT / pipeline / "dvc.yaml").read_text().splitlines()) <= 200
    assert len((ROOT / "dvc.lock").read_text().splitlines()) <= 1300


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_params_are_the_fields_of_settings(pipeline: str) -> None:
    params = yaml(f"{pipeline}/params.yaml")
    assert params["task"] in task_names()
    models = sections_of(params["task"])
    assert list(params) == ["task", *models, "arch", "clipping", "seeds"]
    for name, model in models.items():
        assert set(params[name]) == set(model.model_fields), name
    for row in params["arch"].values():
        assert set(row or {}) <= set(arch_keys(params["task"]))
    for row in params["clipping"].values():
        assert set(row) == set(ClippingSettings.model_fields)


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
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
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
