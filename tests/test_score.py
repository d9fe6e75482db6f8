"""A score: declared once, its sums divided once."""

import math

import pytest

from unrolled.ground.score import Score, Sums, by_name

ACCURACY = Score("tag_accuracy", "accuracy", "tag", lambda right, of: right / of, lower_is_better=False)
LOSS = Score("loss_in_bits", "bits", "token", lambda nats, of: nats / math.log(2) / of, note="of all heads")


def test_its_sums_become_the_number() -> None:
    assert ACCURACY.of(Sums(3.0, 4)) == 0.75
    assert LOSS.of(Sums(6 * math.log(2), 3)) == pytest.approx(2)


def test_what_a_sentence_calls_it_is_its_name() -> None:
    assert (ACCURACY.label, LOSS.label) == ("tag accuracy", "loss in bits")


def test_lower_is_better_unless_told() -> None:
    assert LOSS.lower_is_better and not ACCURACY.lower_is_better
    assert (LOSS.column, LOSS.note, ACCURACY.note) == ("main", "of all heads", "")


def test_scores_are_found_by_their_names_in_their_order() -> None:
    assert list(by_name([LOSS, ACCURACY]).items()) == [("loss_in_bits", LOSS), ("tag_accuracy", ACCURACY)]


def test_sums_of_a_split_are_those_of_its_parts() -> None:
    """Sums add up; means of means do not."""
    parts = [Sums(3.0, 4), Sums(0.0, 1)]
    assert ACCURACY.of(Sums(*map(sum, zip(*parts, strict=True)))) == 0.6
