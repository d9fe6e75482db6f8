"""Rows that a served model is asked: a bad one is answered as such, and the others as if it were not there."""

import math

import pandas as pd
import pytest

from unrolled.shell.errors import UserError
from unrolled.shell.rows import read_each, rows_of


def read(text: str) -> int:
    if not text:
        raise UserError("nothing\nthere")
    return int(text)


def test_each_row_is_read_for_itself() -> None:
    found, errors = read_each(["1", "", None, "2", math.nan, pd.NA, 3, ["4"], "five", {}], read)
    assert found == [1, None, None, 2, None, None, None, None, None, None]
    assert errors[0] is errors[3] is None
    assert errors[1:3] == ["nothing there", "null is no text"] and errors[4:6] == ["null is no text"] * 2
    assert errors[6:8] == ["int is no text", "list is no text"] and errors[9] == "dict is no text"
    assert errors[8] is not None and "five" in errors[8]


@pytest.mark.parametrize(
    "asked",
    [["a", "b"], pd.DataFrame({"text": ["a", "b"]}), pd.DataFrame({"text": [["a", "b"]]}), iter(["a", "b"])],
)
def test_a_column_of_strings_alone_may_come_as_one_row(asked: object) -> None:
    assert rows_of(asked, "text") == ["a", "b"]
