"""What the lecture says of language models, beside what a comparison says of them."""

import math
from collections.abc import Iterator

from unrolled.report.lecture import Results, Statement

RNN, LSTM, BILSTM = "rnn-clipped", "lstm-clipped", "bilstm-clipped"
UNCLIPPED_RNN = "rnn-unclipped"
TEXT = "test text"  # beside lines of its own, in their table
MAKE = "make repro"
FLOOR = 0.02  # nats a token over the exact floor that a trained network is allowed
CHANCE = 0.02  # two standard errors of a share of a thousand sentences

SLOPES = (
    "each step multiplies by the matrix and by the slope of tanh, and units near their ends have none; below 1 is "
    "enough to vanish, above 1 is not enough to explode"
)
NORMALISED = (
    "where nearly every step is clipped, the gradient says where to go and clip_norm how far: descent by normalised "
    "gradients"
)


def statements(results: Results) -> Iterator[Statement]:
    """Those of which the comparison has figures: of real text, or of text whose entropy is known."""
    known = any(row.get("forward_excess") is not None for row in results.rows.values())
    yield from _of_known_entropy(results) if known else _of_text(results)


def _of_text(results: Results) -> Iterator[Statement]:
    yield from _loss(results)
    yield from _finishing(results)
    yield from _shared_weight(results)
    yield from _perplexity(results)
    yield from _vanishing(results)
    yield from _exploding(results)
    yield from _gates(results)
    yield from _both_sides(results)


def _loss(results: Results) -> Iterator[Statement]:
    if found := results.figures("forward_perplexity", LSTM, "unigram"):
        lstm, unigram = map(math.log, found)
        yield Statement(
            "loss",
            "Trained by the cross entropy of the next word, a network learns more than how frequent words are.",
            MAKE,
            f"The LSTM pays {lstm:.2f} nats a word of the test text, {unigram:.2f} is what frequencies alone cost.",
            lstm < unigram, picture="score",
        )  # fmt: skip


def _finishing(results: Results) -> Iterator[Statement]:
    found, lines = results.figures("own_perplexity", LSTM), results.table("own_lines", LSTM)
    if found and lines is not None:
        own, real = found[0], float(lines.loc[lines["of"] == TEXT, "perplexity"].iloc[0])
        yield Statement(
            "feeding", "Left to its own words, a network writes text that is not as its training text is.",
            'unrolled generate "the function returns" --samples 3',
            f"Over lines of the LSTM's own, at temperature 1, a five-gram model of the text's other half hesitates "
            f"among {own:,.0f} words, over as many real ones among {real:,.0f}; the report has it by temperature.",
            own > real, "" if own > real else "what it writes is no more surprising than real lines are",
        )  # fmt: skip


def _shared_weight(results: Results) -> Iterator[Statement]:
    if found := results.figures("addend_alignment", RNN, LSTM):
        rnn, lstm = found
        yield Statement(
            "bptt", "One matrix serves all time steps; its gradient is the sum of what each of them adds.", MAKE,
            f"The norm of that sum is {rnn:.0%} of the sum of the norms in the RNN and {lstm:.0%} in the LSTM: the "
            "steps pull in "
            "directions of their own, and cancel in part. runs/<arm>/addends.csv has every step's.",
            0 < max(rnn, lstm) <= 1 + 1e-6, picture="addends",
        )  # fmt: skip


def _perplexity(results: Results) -> Iterator[Statement]:
    names = ("uniform", "unigram", "kneser_ney", LSTM)
    sizes = results.figures("vocabulary_size", LSTM)
    if (found := results.figures("forward_perplexity", *names)) and sizes:
        uniform, unigram, five_gram, lstm = found
        yield Statement(
            "perplexity", "Perplexity is the number of equally likely words among which a model hesitates on average.",
            MAKE,
            f"A model that knows nothing hesitates among all {uniform:,.0f} types; one that knows frequencies among "
            f"{unigram:,.0f}, the LSTM among {lstm:,.1f}.",
            uniform == sizes[0] and lstm < unigram < uniform,
        )  # fmt: skip
        better = lstm < five_gram
        yield Statement(
            "perplexity", "A recurrent network hesitates among fewer words than counting n-grams does.",
            "unrolled use ptb-lstm-small && dvc repro    # where it does: docs/ladder.md",
            f"The LSTM reaches {lstm:,.1f}, a Kneser-Ney five-gram model {five_gram:,.1f}.", better,
            "" if better else "a few epochs of a small network are a lesson in gradients, and this text repeats itself",
        )  # fmt: skip


def _vanishing(results: Results) -> Iterator[Statement]:
    if found := results.figures("gradient_reach", RNN, LSTM):
        rnn, lstm = found
        yield Statement(
            "vanishing", "The gradient of a loss fades with the distance back, in an RNN sooner than in an LSTM.", MAKE,
            f"It stays above a hundredth of its largest norm for {rnn:.0f} steps in the RNN and {lstm:.0f} in the "
            "LSTM.",
            rnn < lstm, picture="lag_profile",
        )  # fmt: skip
    radius, exponent = (results.figures(name, RNN) for name in ("spectral_radius", "lyapunov_exponent"))
    if radius and exponent:
        held = (radius[0] > 1) == (exponent[0] > 0)
        yield Statement(
            "vanishing",
            "With the largest eigenvalue of the recurrent matrix above 1, gradients explode; below 1 they vanish.",
            MAKE,
            f"The trained RNN's spectral radius is {radius[0]:.1f}, and along real text a step back makes a gradient "
            f"exp({exponent[0]:.2f}) = {math.exp(exponent[0]):.2f} times as long.", held,
            "" if held else SLOPES, picture="exponents",
        )  # fmt: skip
    yield from _saturation(results)
    yield _depth(results)


def _saturation(results: Results) -> Iterator[Statement]:
    """Of the unclipped twin too, as an explosion drives units to the ends of their range."""
    exponents, table = results.figures("lyapunov_exponent", RNN, UNCLIPPED_RNN), results.plotted("saturation")
    if exponents is None or table is None:
        return
    at_ends = table.groupby("arm")[["low_share", "high_share"]].mean().sum(axis=1)
    arms = [f"{name}-{results.rows[name]['seed']}" for name in (RNN, UNCLIPPED_RNN)]
    few, many = (float(at_ends[arm]) for arm in arms)
    kept, lost = map(math.exp, exponents)
    held = (few < many) == (kept > lost)
    yield Statement(
        "vanishing", "A unit at either end of the range of tanh has next to no slope, and passes next to no gradient.",
        MAKE,
        f"In the RNN {few:.0%} of all values lie within a tenth of the range from an end, and a step back leaves "
        f"{kept:.0%} of a gradient; in its twin without clipping {many:.0%}, and {lost:.0%}.",
        held, "" if held else "the one with fewer units at the ends loses more", picture="saturation",
    )  # fmt: skip


def _depth(results: Results) -> Statement:
    claim = "Down a stack of layers the gradient fades as it does through time; connections past the layers carry it."
    command = "unrolled use depth && dvc repro    # 1 to 8 layers, plain, residual, highway, dense"
    table = results.plotted("depths")
    if table is None or not len(table):
        return Statement("vanishing", claim, command, "README.md has what came out: docs/depths.png.")
    deep = table[(table["layers"] == table["layers"].max()) & (table["when"] == "before training")]
    ends = deep.sort_values("layer").groupby("connection", sort=False)["norm"]
    shares: dict[str, float] = (ends.first() / ends.last()).to_dict()
    plain, others = shares.pop("plain"), ", ".join(f"{name} {share:.2g}" for name, share in shares.items())
    held = plain < min(1.0, *shares.values())
    return Statement(
        "vanishing", claim, command,
        f"Before training, of the gradient at the uppermost of {table['layers'].max()} layers the lowest gets "
        f"{plain:.2g} times as much where they are plain; with connections: {others}.",
        held, "" if held else "some connection carries less of it down than none does", picture="depths",
    )  # fmt: skip


def _exploding(results: Results) -> Iterator[Statement]:
    twins = {name: row for name, row in results.rows.items() if row.get("clipping") == "unclipped"}
    if twins and all(name.replace("-unclipped", "-clipped") in results.rows for name in twins):
        told, worse = [], []
        for name, row in twins.items():
            own, other = (
                row.get("forward_perplexity"),
                results.rows[name.replace("-unclipped", "-clipped")]["forward_perplexity"],
            )
            ended = f"above 1e6 from step {row['first_explosion']}" if own is None or own > 1e6 else f"{own:,.1f}"
            told.append(f"{name.removesuffix('-unclipped')} {ended} (clipped {other:,.1f})")
            worse.append(own is None or own > other)
        yield Statement(
            "exploding", "At a learning rate that clipping allows, training without clipping explodes.", MAKE,
            f"Perplexity in the end: {', '.join(told)}.", all(worse),
            "" if all(worse) else "one arm of this run did better without", picture="explosion",
        )  # fmt: skip
    if found := results.figures("clipped_share", RNN, LSTM):
        rnn, lstm = found
        rare = max(rnn, lstm) < 0.2
        yield Statement(
            "exploding", "Clipping is for rare steps: it cuts off spikes, and leaves all others as they are.", MAKE,
            f"It acted on {lstm:.1%} of the LSTM's steps and on {rnn:.1%} of the RNN's.", rare,
            "" if rare else NORMALISED, picture="clipped_share",
        )  # fmt: skip


def _gates(results: Results) -> Iterator[Statement]:
    exponents, constants = results.figures("lyapunov_exponent", RNN, LSTM), results.figures("time_constant", LSTM)
    if exponents and constants:
        rnn, lstm = exponents
        yield Statement(
            "gates",
            "A cell that adds to its memory keeps a gradient that a cell which multiplies it away loses.",
            MAKE,
            f"A step back leaves {math.exp(rnn):.0%} of a gradient in the RNN and {math.exp(lstm):.0%} in the LSTM, "
            "half of whose "
            f"units forget within {constants[0]:.1f} steps.", rnn < lstm, picture="time_constants",
        )  # fmt: skip


def _both_sides(results: Results) -> Iterator[Statement]:
    forward, joined = (results.figures(name, BILSTM) for name in ("forward_perplexity", "pseudo_perplexity"))
    if forward and joined:
        yield Statement(
            "bidirectional", "A model that sees both sides of a word predicts it better, and cannot write.",
            'unrolled generate "the function" --arm bilstm-clipped    # refused: it has no next word',
            f"The BiLSTM's forward head reaches a perplexity of {forward[0]:,.1f}. Its joined head reaches "
            f"{joined[0]:,.1f}, which is "
            "no perplexity, for no chain of such predictions is a probability of the text: it stands in a column of "
            "its own.",
            joined[0] < forward[0],
        )  # fmt: skip


def _of_known_entropy(results: Results) -> Iterator[Statement]:
    command = "make repro PIPELINE=known-entropy"
    if found := results.figures("forward_excess", LSTM):
        yield Statement(
            "loss", "Teacher forcing brings the loss down to the entropy of the text.", command,
            f"On made-up text, of which each token's least cost is known, the LSTM pays {found[0]:.4f} nats a token "
            "over it.",
            found[0] < FLOOR,
        )  # fmt: skip
    agreement, finished = (results.figures(name, LSTM) for name in ("own_agreement", "finish_accuracy"))
    if agreement and finished:
        worse = agreement[0] < finished[0] - CHANCE
        yield Statement(
            "feeding", "A network that has only read true words errs on when it goes on from its own.", command,
            f"In sentences of its own the LSTM's verbs agree with their subjects in {agreement[0]:.0%}, and after "
            f"true beginnings in {finished[0]:.0%}; the source itself agrees in 90 %. "
            "docs/finishing.md has what other ways of training teach.",
            worse, "" if worse else "its own words lead it no further astray than true ones do",
        )  # fmt: skip
    if found := results.figures("memory_span", RNN, LSTM):
        rnn, lstm = found
        yield Statement(
            "vanishing", "What lies too far back for the gradient is not learnt.", command,
            f"Half of what a subject says of its verb is lost by the RNN after {rnn:.0f} words; the LSTM keeps more "
            "than half over all "
            f"{lstm:.0f} that the text has." if lstm > 200 else
            f"Half of what a subject says of its verb is lost by the RNN after {rnn:.0f} words, by the LSTM after "
            f"{lstm:.0f}.",
            rnn < lstm, picture="recall",
        )  # fmt: skip
