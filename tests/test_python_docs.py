"""The default corpus: what it holds, and that nothing of the machine is in it."""

import sys
from pathlib import Path

import pytest

from unrolled.corpus import python_docs
from unrolled.corpus.python_docs import python_documents


@pytest.fixture(scope="module")
def documents() -> dict[str, list[str]]:
    return {document.name: list(document.lines()) for document in python_documents(Path("unused"), None)}


def test_holds_topics_and_modules_in_order(documents: dict[str, list[str]]) -> None:
    names = list(documents)
    assert names == sorted(names, key=lambda name: (not name.startswith("topics/"), name))
    assert {"topics/assert", "library/email", "library/email.message"} <= documents.keys()
    assert documents["library/bisect"][0] == "Bisection algorithms."
    assert sum(map(bool, documents.values())) > 400


def test_holds_no_tests_no_foreign_packages_and_nothing_packaged_apart(documents: dict[str, list[str]]) -> None:
    parts = {name: name.removeprefix("library/").split(".") for name in documents if name.startswith("library/")}
    assert all(part[0] in sys.stdlib_module_names for part in parts.values())
    assert not [name for name, part in parts.items() if {"test", "tests", "idle_test"} & set(part)]
    assert not [name for name, part in parts.items() if part[0] in {"tkinter", "idlelib", "ensurepip", "lib2to3"}]


def test_lines_are_flowed_and_name_no_place_of_this_machine(documents: dict[str, list[str]]) -> None:
    lines = [line for document in documents.values() for line in document]
    assert all(line == " ".join(line.split()) != "" for line in lines)
    places = {sys.prefix, sys.base_prefix + "/lib"} - {"/usr", "/usr/lib"}  # of these, Debian's docstrings speak
    assert not [line for line in lines if any(place in line for place in places)]
    assert not [line for line in lines if line.startswith("*****")]  # a title's underline


def test_docstrings_are_parsed_never_imported_and_stand_in_the_order_of_the_page(tmp_path: Path) -> None:
    source = '''"""Module.

    Second paragraph
    of two lines.
    """
raise SystemExit("imported")
class A:
    """Class."""
    def method(self):
        """Method \\d."""
def function():
    """Function."""
'''
    (tmp_path / "module.py").write_text(source, encoding="utf-8")
    assert list(python_docs._docstring_paragraphs(tmp_path / "module.py")) == [
        "Module.",
        "Second paragraph of two lines.",
        "Class.",
        "Method \\d.",
        "Function.",
    ]
