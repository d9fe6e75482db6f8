"""What the report says of a language model beyond its scores, and what the arms write."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from unrolled.ground.checksums import read_sealed
from unrolled.report.wording import Wording
from unrolled.shell.errors import UserError
from unrolled.tasks.language_model.text.inference import Trained

TEXT = Path("data/text")
SAMPLE_TOKENS, PROMPT_WORDS, SEED = 40, 4, 1
WAYS: dict[str, dict[str, Any]] = {
    "greedy": {"temperature": 0.0},
    "temperature 0.5": {"temperature": 0.5},
    "temperature 1": {},
    "top 40": {"top_k": 40},
    "nucleus 0.9": {"nucleus": 0.9},
}


def samples(arms: Sequence[str], workspace: Path = Path()) -> Mapping[str, Mapping[str, str] | str]:
    """How each arm continues the first words of the test split's first long line, by way of sampling; or why not."""
    read_sealed(workspace / TEXT, "documents.json")
    opening = (workspace / TEXT / "test.txt").read_text(encoding="utf-8")[:1000]
    long = [words for words in map(str.split, opening.split("\n")) if len(words) > PROMPT_WORDS]
    prompt = " ".join(long[0][:PROMPT_WORDS] if long else [])
    written: dict[str, dict[str, str] | str] = {}
    for arm in arms:
        try:
            trained = Trained.read(arm, workspace)
            written[arm] = {
                way: trained.continued(prompt, length=SAMPLE_TOKENS, samples=1, seed=SEED, **options)[0]
                for way, options in WAYS.items()
            }
        except UserError as error:  # a BiLSTM, or an arm that exploded
            reason = str(error).removeprefix(f"{arm}: ")
            written[arm] = f"{reason[:1].upper()}{reason[1:]}."
    return written


WORDING = Wording(
    title="Recurrent language models",
    loss="loss, nats per token",
    baselines={"kneser_ney": "Kneser-Ney n-grams", "unigram": "unigram", "uniform": "uniform"},
    measured={"unigram": "unigram_perplexity", "uniform": "uniform_perplexity"},
    chance="unigram",
    of_text={"vocabulary_size": ("vocabulary", ",.0f"), "unknown_share": ("unknown", ".2%")},
    beside={
        "spelled_bits_per_character": "bits a character",
        "spelled_bits_per_byte": "bits a byte",
    },
    measures={"interpolation_weight": "w"},
    notes={
        "scores": "Kneser-Ney n-grams: interpolated modified Kneser-Ney of order {ngram_order}. Unigram: training "
        "counts plus one, without context. Uniform: every type is equally likely. Unknown: the share of the test "
        "tokens that are not in the vocabulary. Perplexities compare within one vocabulary alone. Across vocabularies "
        "compare nats and bits of the whole test text: those of its tokens, read from left to right, and those of "
        "spelling each unknown one, letter by letter and then an end. A letter, or the end, is as likely as in the "
        "training words that are unknown there or, where none is, occur once, each counted once more; a letter that "
        "these lack costs an escape and then any other code point. Characters, and bytes of UTF-8, are those of the "
        "text as its reader left it, before lower-casing, line ends among them. Nothing is paid for case where "
        "vocabulary.lowercase is true, nor for white space between words: figures compare under the same lowercase, "
        "and those of characters pay for white space too.",
        "variants": "The second table shows the forward head, evaluated in other ways.",
        "gradients": "The main stack is the one that reads from left to right.",
        "pairs": "All pairs compare the heads that read from left to right.",
    },
    figures={
        "learning_rates": (
            "Learning rate and clipping",
            "Validation perplexity of each learning rate with each threshold. White: training diverged, or the "
            "perplexity is more than twice that of the unigram model. Compare the columns each at its own best: what "
            "clipping buys is the rates that survive.",
        ),
        "score": (
            "Perplexity by epoch",
            "Perplexity is the number of equally likely words that the network is, in effect, choosing between: exp of "
            "the mean cross-entropy. A curve that jumps to the upper edge is an arm that exploded.",
        ),
        "context": (
            "How much context the networks use",
            "Left: the test split again, but with the state reset so many tokens before each word that is predicted. "
            "Where the curve is flat, what lies further back makes no difference. Right, for comparison: how far back "
            "the gradient of one loss reaches, and so how much context training could have taught the network to use.",
        ),
    },
    samples=samples,
    about_samples="Every arm continues the same words, the first of the test split, and reads each word that it draws "
    "before it draws the next. <unk> is never drawn.",
)
