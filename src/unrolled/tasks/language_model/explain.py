"""`unrolled explain`: one sentence through trained networks: what each word costs, and how far back its loss reaches.

The gradient that reaches back is what training learns from: where it has vanished, no earlier word could have been
learnt to matter.
"""

import json
import math
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click
import torch
from jinja2 import Environment, PackageLoader, StrictUndefined
from torch import Tensor
from torch.nn.functional import cross_entropy

from unrolled.corpus.files.lines import lines_of
from unrolled.corpus.vocabulary import encode_line, spelled
from unrolled.ground.atomic import whole_text
from unrolled.ground.checksums import read_sealed
from unrolled.ground.run import Run
from unrolled.ground.special_tokens import END_ID
from unrolled.probing.gates import SIGNED, gate_values_of_stack
from unrolled.recurrence.profile import Profile
from unrolled.recurrence.stack import Stack
from unrolled.shell.errors import UserError
from unrolled.tasks.language_model.model.network import Network
from unrolled.tasks.language_model.text.formats import HEAT
from unrolled.tasks.language_model.text.inference import Trained

MOST = 200  # tokens: each has a backward pass of its own
LIKELIEST = 5  # words that are told of what was expected
EMBEDDING = "embedding"
LEVELS = "▁▂▃▄▅▆▇█"
NOTHING = "nothing, as its predictions are not numbers"
BLANK = "␣"  # a token, or the beginning of one, in other units than words
DECADES = 6.0  # below the largest norm; what is smaller has no bar

Row = list[float]


class Moment(NamedTuple):
    """A network at one moment of its training, and what it does with the text.

    Of token t of T: ``bits[t]``, how little it was expected; ``expected[t]``, the likeliest words in its place with
    their probabilities; ``reach[where][t][s]``, the L2 norm of the gradient of its nats at input s: of the embedding,
    or by layer ("forward.0") of the hidden state after it. Input 0 is the sentence's start, input s token s - 1.
    ``gates[layer][gate][s]``: the mean over units while input s is read, between 0 and 1, or -1 and 1.
    """

    name: str
    bits: Row
    expected: list[list[tuple[str, float]]]
    reach: dict[str, list[Row]]
    gates: dict[str, dict[str, Row]]


class Explanation(NamedTuple):
    """What one arm makes of the text; ``words`` are as they were written, ``known`` says which it has a word for.

    ``title``: the arm with what its training came to, where that is no good, and which of its stacks reads.
    """

    arm: str
    title: str
    words: list[str]
    known: list[bool]
    moments: list[Moment]  # from the untrained network to the trained one


def arms(workspace: Path, wanted: Sequence[str]) -> Iterator[tuple[Trained, Run]]:
    """Those of runs/ that are wanted, or all that did not diverge; UserError as ``Trained.read``."""
    there = sorted(path.parent.name for path in workspace.glob("runs/[!.]*/summary.json"))
    finite = [name for name in there if read_sealed(workspace / "runs" / name, "summary.json")["status"] == "finished"]
    for name in wanted or finite or (None,):
        yield Trained.with_run(name, workspace)


def explain(arm: tuple[Trained, Run], text: str) -> Explanation:
    """The whole text through the forward stack of an arm, before and after its training.

    UserError for a text without a word, with more than MOST tokens, or that is no text.
    """
    trained, run = arm
    read = " ".join(" ".join(lines_of(text)).split())
    (line,) = trained.surprisals([read])
    words = line[:-1]  # <eos> was added
    if len(words) > MOST:
        raise UserError(f"the text has {len(words):,} tokens, and {MOST} is the most that can be explained; shorten it")
    ids = torch.tensor(encode_line(trained.tokenizer, read, end=False))
    moments = [_moment(name, network, trained, ids) for name, network in _networks(trained, run)]
    title = trained.title + ", its forward stack" * trained.network.bidirectional
    return Explanation(
        trained.arm, title, [_shown(each.word) for each in words], [each.known for each in words], moments
    )


def _shown(word: str) -> str:
    return word.replace(" ", BLANK)


def _networks(trained: Trained, run: Run) -> Iterator[tuple[str, Network]]:
    """The trained one, and before it as it was drawn, where it did not start from another run."""
    train = run.settings["train"]
    if "start_from" not in train:
        drawn = run.task.model(
            run.settings["sizes"], run.settings["network"], torch.Generator().manual_seed(train["seed"])
        )
        assert isinstance(drawn, Network)
        yield "before training", drawn
    yield "trained", trained.network


def _moment(name: str, network: Network, trained: Trained, ids: Tensor) -> Moment:
    inputs = torch.cat([torch.tensor([END_ID]), ids[:-1]])
    profile, stack = Profile(), network.stacks["forward"]
    embedded = network.embedding(inputs[:, None]).detach().requires_grad_()
    hidden, _ = stack(embedded, stack.initial_state(1), None, profile, None)
    logits = network.logits(hidden[:, 0])
    nats = cross_entropy(logits, ids, reduction="none")
    reach: dict[str, list[Row]] = {EMBEDDING: []}
    for place, each in enumerate(nats, 1):
        (gradient,) = torch.autograd.grad(each, embedded, retain_graph=True)
        reach[EMBEDDING].append(gradient[:place, 0].norm(dim=-1).tolist())
        for layer, norms in profile.norms.items():
            reach.setdefault(layer, []).append(norms[:place].tolist())
    bits = (nats.detach() / math.log(2) + 0.0).nan_to_num(nan=math.inf).tolist()  # -0.0 + 0.0 is 0.0
    return Moment(name, bits, _expected(logits.detach(), trained), reach, _gates(stack, embedded.detach()))


def _expected(logits: Tensor, trained: Trained) -> list[list[tuple[str, float]]]:
    found = logits.softmax(-1).topk(min(LIKELIEST, logits.shape[-1]))
    words = [[_shown(spelled(trained.tokenizer, index)) for index in row] for row in found.indices.tolist()]
    rows = [list(zip(*row, strict=True)) for row in zip(words, found.values.tolist(), strict=True)]
    return [[(word, share) for word, share in row if math.isfinite(share)] for row in rows]  # of a diverged one none


def _gates(stack: Stack, embedded: Tensor) -> dict[str, dict[str, Row]]:
    """The means over the units of each gate, by layer."""
    layers = zip(stack.layers, gate_values_of_stack(stack, embedded), strict=True)
    return {
        layer.name: {gate: value.mean(dim=(1, 2)).tolist() for gate, value in values.items()}
        for layer, values in layers
    }


# ---- on a terminal


def told(explanation: Explanation, word: str | None) -> Iterator[str]:
    """The trained network's surprisals, and behind them what the loss of ``word`` reaches back to, in words and bars.

    ``word``: its number from 1, or from -1 for the last, or the word itself; None: the last. UserError for another.
    """
    moment, words = explanation.moments[-1], explanation.words
    place = _place(word, words)
    yield click.style(f"{explanation.title}, bits of each word:", dim=True)
    yield " ".join(_coloured(*each) for each in zip(words, moment.bits, explanation.known, strict=True))
    likeliest = ", ".join(f"{name} {share:.0%}" for name, share in moment.expected[place])
    said = f"in place of {words[place]} it expected {likeliest or NOTHING}; how far back the loss of it reaches:"
    yield click.style(said, dim=True)
    read = ["(start)", *words[:place]]
    width = max(map(_cells, read))
    for where, rows in moment.reach.items():
        yield click.style(f"  norm of d loss / d {where if where == EMBEDDING else f'h of {where}'}", dim=True)
        largest = max(rows[place])
        for name, norm in zip(read, rows[place], strict=True):
            yield f"    {' ' * (width - _cells(name))}{name}  {_bar(norm, largest)}  {norm:.1e}"
    for layer, gates in moment.gates.items():
        told = ", ".join(f"{gate} {_sparkline(gate, values)}" for gate, values in gates.items())
        yield click.style(f"  gates of {layer}, mean over units, word by word: {told}", dim=True)


def _place(word: str | None, words: list[str]) -> int:
    """From 0; of a word that stands there several times the last."""
    if word is None:
        return len(words) - 1
    for known in (words, [each.strip(BLANK) for each in words]):
        if word in known:
            return len(words) - 1 - known[::-1].index(word)
    number = int(word) if word.removeprefix("-").isdecimal() and len(word) < 10 else 0
    if not 1 <= abs(number) <= len(words):
        raise UserError(f"--word {word}: no such word; name one of the text, or its number from 1 to {len(words)}")
    return number - 1 if number > 0 else len(words) + number


def _coloured(word: str, bits: float, known: bool) -> str:
    """An unknown word as `unrolled score` has it: the network saw <unk> in its place."""
    said = f"{bits:.1f}" if bits < 1000 else f"{bits:.1e}"
    if not known:
        return click.style(f"{word}·<unk>·{said}", underline=True)
    colour = next(colour for limit, colour in HEAT if bits <= limit)
    return click.style(f"{word}·{said}", fg=colour)


def _cells(word: str) -> int:
    """How many columns of a terminal it takes: East Asian letters and emoji two, marks on other letters none."""
    bare = (each for each in word if unicodedata.category(each) not in ("Mn", "Me", "Cf"))
    return sum(1 + (unicodedata.east_asian_width(each) in "WF") for each in bare)


def _bar(norm: float, largest: float) -> str:
    """Over DECADES of ten, as gradients vanish by factors."""
    full = 30
    share = 0.0 if not (0 < norm <= largest < math.inf) else 1 + math.log10(norm / largest) / DECADES
    return click.style("█" * max(round(full * share), 0), fg="blue") + "·" * (full - max(round(full * share), 0))


def _sparkline(gate: str, values: Row) -> str:
    low = -1.0 if gate in SIGNED else 0.0  # whatever its sign here, so that texts and arms compare
    heights = [(each - low) / (1 - low) * len(LEVELS) for each in values]
    return "".join(LEVELS[min(int(each), len(LEVELS) - 1)] if math.isfinite(each) else "?" for each in heights)


# ---- on a page


def page(explanations: Sequence[Explanation], text: str) -> str:
    """One file of HTML that needs no network: hover a word, and its gradient flows back."""
    arms = [each._asdict() | {"moments": [moment._asdict() for moment in each.moments]} for each in explanations]
    data = json.dumps({"arms": _finite(arms), "decades": DECADES}, separators=(",", ":")).replace("<", "\\u003c")
    environment = Environment(
        loader=PackageLoader("unrolled.tasks.language_model", "."), autoescape=True, undefined=StrictUndefined
    )
    return environment.get_template("explain.html.jinja").render(text=text, data=data, nothing=NOTHING)


def write_page(explanations: Sequence[Explanation], text: str, place: Path) -> None:
    whole_text(place, page(explanations, text))


def _finite(value: Any) -> Any:
    """What JSON can say, in as many digits as anyone looks at: what is not finite is null."""
    if isinstance(value, float):
        return float(f"{value:.4g}") if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    return [_finite(each) for each in value] if isinstance(value, list | tuple) else value
