"""How a mistake in params.yaml is said: what is wrong, where, and the nearest thing that would be right."""

import re
import reprlib
from difflib import get_close_matches

from pydantic import ValidationError

SHOWN = 100  # characters of a value
YAML_WORDS = {None: "null", True: "true", False: "false"}  # as the file spells them
TAGS = ("one", "many")  # of a value or several of its kind, told apart before they are checked


def first_error(error: ValidationError, name: str, origin: dict[tuple[str, str], str]) -> str:
    """The first error of the section ``name``; ``origin``: which row of the grid a key's value comes from."""
    first = error.errors()[0]
    key = str(first["loc"][0]) if first["loc"] else ""
    within = [part for part in first["loc"][1:] if isinstance(part, str) and part not in TAGS]  # of a mapping, by key
    label = ".".join([origin.get((name, key), name), key, *within]) if key else name
    if first["type"] == "missing":
        return f"key '{label}' is missing"
    value = f": {shown(first['input'])}" if key else ""
    names = re.findall("'(.*?)'", first["ctx"]["expected"]) if first["type"] == "literal_error" else []
    near = get_close_matches(shown(first["input"]).strip("'"), names, n=1, cutoff=0.5)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    # The shared keys were good among themselves, so where one of them is named, a row brought the other half.
    rows = [] if (name, key) in origin else sorted({row for (section, _), row in origin.items() if section == name})
    beside = f" (with the row '{rows[0]}')" if rows else ""
    return f"'{label}'{value}: {first['msg'].removeprefix('Value error, ')}{hint}{beside}"


def nearest(key: str, known: list[str]) -> str:
    """A hint to put behind a message on an unknown name."""
    close = get_close_matches(key, known, n=1, cutoff=0.5)
    return f"; did you mean '{close[0]}'?" if close else f" (known: {', '.join(known)})"


def shown(value: object) -> str:
    """What the file says, in one short line, though it be a line end or a list of lists of lists."""
    if value is None or isinstance(value, bool):
        return YAML_WORDS[value]
    short = reprlib.Repr()
    short.maxstring = short.maxother = SHOWN
    try:
        said = short.repr(value)
    except ValueError:  # Python prints no more than 4,300 digits
        return "a number of thousands of digits"
    return said if len(said) <= SHOWN else f"{said[: SHOWN - 3]}..."  # reprlib shortens each part, not the whole
