"""A scored text as it is written: words in colour for a reader, JSON and CSV for programs; and its sums."""

import csv
import io
import json
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import click

from unrolled.ground.perplexity import perplexity
from unrolled.tasks.language_model.text.inference import Surprisal
from unrolled.tasks.language_model.text.unknown import Reason, UnknownWords, Why

HEAT = [(4.0, "green"), (8.0, "yellow"), (12.0, "red"), (math.inf, "magenta")]  # up to so many bits
STYLES = [(limit, click.style("", fg=colour, reset=False)) for limit, colour in HEAT]
HIDDEN, RESET = click.style("", underline=True, reset=False), click.style("")
COLUMNS = ("line", "position", "word", "bits", "known", "why", "times_in_training")
EXAMPLES = 3
QUOTED = json.JSONEncoder(ensure_ascii=False).encode  # of a word


def coloured(number: int, line: Sequence[Surprisal], unknown: UnknownWords) -> str:
    """Each word with its bits, from expected to astonishing, and the line's sum; an unknown one is underlined."""
    return f"{' '.join(map(_word, line))}  = {sum(each.bits for each in line):.1f} bits"


def _word(each: Surprisal) -> str:
    if not each.known:
        return f"{HIDDEN}{each.word}·<unk>·{each.bits:.1f}{RESET}"
    for limit, style in STYLES:
        if each.bits <= limit:
            return f"{style}{each.word}·{each.bits:.1f}{RESET}"
    return f"{each.word}·{each.bits:.1f}"


def as_json(number: int, line: Sequence[Surprisal], unknown: UnknownWords) -> str:
    """A line of JSON; bits that are infinite, as those of an arm that exploded, are null: JSON has no word for it.

    Spelled out, as it takes twice as long to build dictionaries and have them written.
    """
    words = ", ".join([_json_of(each, unknown) for each in line])
    bits, hidden = _number(sum(each.bits for each in line)), sum(not each.known for each in line)
    return f'{{"line": {number}, "bits": {bits}, "tokens": {len(line)}, "unknown": {hidden}, "words": [{words}]}}'


def _json_of(each: Surprisal, unknown: UnknownWords) -> str:
    begun = f'{{"word": {QUOTED(each.word)}, "bits": {_number(each.bits)}, "known": '
    if each.known:
        return f"{begun}true}}"
    reason = unknown.reason(each.word)
    return f'{begun}false, "why": "{reason.why}", "times_in_training": {json.dumps(reason.times)}}}'


def _number(bits: float) -> str:
    return f"{bits:.4f}" if math.isfinite(bits) else "null"


def as_csv(number: int, line: Sequence[Surprisal], unknown: UnknownWords) -> str:
    """A row a token; their heading before the first line."""
    rows: list[Sequence[object]] = [COLUMNS] if number == 1 else []
    for position, (word, known, bits) in enumerate(line, 1):
        about: tuple[object, ...] = ("true", "", "") if known else ("false", *unknown.reason(word)[:2])
        rows.append((number, position, word, f"{bits:.4f}", *about))
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().removesuffix("\n")


FORMS: dict[str, Callable[[int, Sequence[Surprisal], UnknownWords], str]] = {
    "words": coloured,
    "json": as_json,
    "csv": as_csv,
}  # of the text's lines, numbered from 1


@dataclass
class Totals:
    """What is said of a whole text."""

    unknown: UnknownWords
    bits: float = 0.0
    tokens: int = 0
    hidden: Counter[Why] = field(default_factory=Counter)
    examples: dict[Why, dict[str, Reason]] = field(default_factory=dict)

    def add(self, line: Sequence[Surprisal]) -> None:
        self.bits += sum(each.bits for each in line)
        self.tokens += len(line)
        for each in line:
            if not each.known:
                reason = self.unknown.reason(each.word)
                self.hidden[reason.why] += 1
                shown = self.examples.setdefault(reason.why, {})
                if len(shown) < EXAMPLES:
                    shown[each.word] = reason

    def said(self, arm: str, *, anew: bool) -> list[str]:
        state = "started anew at each line" if anew else "carried from line to line"
        value = perplexity(self.bits * math.log(2), self.tokens)
        lines = [
            f"{arm}: {self.tokens} tokens ({self.hidden.total()} read as <unk>), {self.bits / self.tokens:.2f} bits "
            f"each, perplexity {value:,.1f}; state {state}"
        ]
        return lines + [f"<unk>: {times:,} {self._why(why)}" for why, times in self.hidden.most_common()]

    def _why(self, why: Why) -> str:
        """In words, with some of those that it is true of."""
        words = [f"{word} ({each.known_as} is known)" if each.known_as else word for word, each in self._shown(why)]
        least = self.unknown.min_count
        said = {
            Why.WRITTEN: "written so in the text itself",
            Why.CASE: "known in another case alone",
            Why.UNTOLD: "not in the vocabulary; why, data/text of its corpus would tell: dvc repro preprocess",
            Why.NEVER: "never seen in training",
            Why.RARE: f"rarer in training than vocabulary.min_count{f', {least}' if least else ''}",
            Why.CUT: "frequent enough, but beyond vocabulary.max_size",
        }[why]
        return f"{said}: {', '.join(words)}{', ...' * (self.hidden[why] > len(words))}"

    def _shown(self, why: Why) -> list[tuple[str, Reason]]:
        return list(self.examples[why].items())
