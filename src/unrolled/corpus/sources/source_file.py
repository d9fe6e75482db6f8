"""A hidden Markov source from a JSON file of one's own.

    {"start": [0.5, 0.5],
     "transitions": [[0.9, 0.1], [0.1, 0.9]],
     "emissions": [[0.8, 0.2], [0.2, 0.8]],
     "words": ["zero", "one"]}

The tables are those of HiddenMarkov: a row of transitions and of emissions for each state, and a column for each state
and for each word.
"""

import json
from pathlib import Path
from typing import Any

from unrolled.corpus.sources.hidden_markov import HiddenMarkov
from unrolled.shell.errors import UserError

KEYS = ("start", "transitions", "emissions", "words")


def read_source(path: Path) -> HiddenMarkov:
    """Raises UserError, which names the file and the key, for what is no source."""
    content = _content(path)
    for key in content:
        if key not in KEYS:
            raise UserError(f"{path}: unknown key {key!r}; a source has {', '.join(KEYS)}")
    for key in KEYS:
        if key not in content:
            raise UserError(f"{path}: the key {key!r} is missing; a source has {', '.join(KEYS)}")
        if not isinstance(content[key], list):
            raise UserError(f"{path}: {key}: a list is needed")
    _check_numbers(path, "start", content["start"])
    for key in ("transitions", "emissions"):
        for number, row in enumerate(content[key]):
            if not isinstance(row, list):
                raise UserError(f"{path}: {key}: row {number} is no list of numbers")
            _check_numbers(path, key, row, f"row {number}, ")
            if len(row) != len(content[key][0]):
                raise UserError(f"{path}: {key}: row {number} holds {len(row)} numbers, row 0 {len(content[key][0])}")
    try:
        return HiddenMarkov(**content)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def _content(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes(), object_pairs_hook=_once)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    except RecursionError:
        raise UserError(f"{path}: not a source: lists within lists without end") from None
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    except ValueError as error:  # neither UTF-8 nor JSON
        raise UserError(f"{path}: not JSON ({error})") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: not a source, which is an object of {', '.join(KEYS)}")
    return content


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    for key in keys:
        if keys.count(key) > 1:
            raise UserError(f"the key {key!r} is there {keys.count(key)} times")
    return dict(pairs)


def _check_numbers(path: Path, key: str, numbers: list[Any], row: str = "") -> None:
    """json reads true and "0.5" too, of which numpy would make numbers."""
    for place, number in enumerate(numbers):
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise UserError(f"{path}: {key}: {row}number {place} is {json.dumps(number)[:40]}, which is no number")
