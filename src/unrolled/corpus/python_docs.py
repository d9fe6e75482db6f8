"""English that every machine has: the running interpreter's own documentation.

The text depends on the Python version and on nothing else of the machine: only modules that every build of
CPython lists as its standard library are read, less those that distributions package apart.
"""

import ast
import inspect
import re
import sys
import sysconfig
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from unrolled.corpus.files.text_files import Document
from unrolled.shell.errors import UserError

# Debian and others ship these in packages of their own, so that not every machine has them.
PACKAGED_APART = {"distutils", "ensurepip", "idlelib", "lib2to3", "tkinter", "turtle", "turtledemo"}
TESTS = {"test", "tests", "idle_test"}
RULE = re.compile(r"([^\w\s])\1{3,}")  # the line that underlines a title

Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def python_documents(place: Path, pattern: str | None) -> Iterator[Document]:
    """First the language reference as pydoc's topics, then the standard library's docstrings, a document a module.

    Sources are parsed, never imported. A paragraph is one line. Both arguments are unused.
    """
    library = Path(sysconfig.get_path("stdlib"))
    for name, text in sorted(_topics(library / "pydoc_data" / "topics.py").items()):
        yield Document(f"topics/{name}", partial(_paragraphs, [text]))
    for name, path in sorted(_modules(library)):
        yield Document(f"library/{name}", partial(_docstring_paragraphs, path))


def _topics(path: Path) -> dict[str, str]:
    """The dictionary literal that pydoc's help() reads."""
    if not path.exists():
        raise UserError("this Python comes without its documentation (pydoc_data); install the full standard library")
    for node in _parse(path).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "topics":
            topics: dict[str, str] = ast.literal_eval(node.value)
            return topics
    raise UserError("this Python keeps its pydoc topics in an unknown form; choose another corpus.name")


def _modules(library: Path) -> Iterator[tuple[str, Path]]:
    """By their names, so that the packages that someone has installed beside them are not looked through."""
    for name in set(sys.stdlib_module_names) - PACKAGED_APART - {"pydoc_data"}:
        for path in (*library.glob(f"{name}.py"), *library.glob(f"{name}/**/*.py")):
            parts = path.relative_to(library).with_suffix("").parts
            if not name.startswith("_sysconfigdata") and not TESTS.intersection(parts):
                yield ".".join(parts).removesuffix(".__init__"), path


def _docstring_paragraphs(path: Path) -> Iterator[str]:
    tree = _parse(path)
    documented = [node for node in ast.walk(tree) if isinstance(node, Documented)]
    documented.sort(key=lambda node: getattr(node, "lineno", 0))  # ast.walk goes by depth, a reader goes down the page
    return _paragraphs([ast.get_docstring(node, clean=False) or "" for node in documented])


def _paragraphs(texts: list[str]) -> Iterator[str]:
    for text in texts:
        for paragraph in re.split(r"\n\s*\n", inspect.cleandoc(text)):
            lines = [line for line in paragraph.split("\n") if not RULE.fullmatch(line.strip())]
            if flowed := " ".join(" ".join(lines).split()):
                yield flowed


def _parse(path: Path) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # invalid escapes in the library's own sources are no concern of the user's
        return ast.parse(path.read_bytes())
