"""Training text -> a vocabulary, as a standard Hugging Face tokenizer.json.

Token ids: ``<unk>`` = 0, ``<eos>`` = 1, then by descending training count, ties by text. ``<eos>`` ends each line.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from unrolled.corpus.blocks import ALONE, Pool
from unrolled.corpus.files.lines import PLAIN, Reading, batches, opened
from unrolled.corpus.stretches import Pieces
from unrolled.corpus.subwords import subword_stretches, subword_tokenizer
from unrolled.ground.special_tokens import END_ID, UNKNOWN_ID
from unrolled.shell.errors import UserError

UNKNOWN, END = "<unk>", "<eos>"
COUNTED = 1 << 22  # characters whose subwords are counted at a time: each of their stretches is looked up once
_ENDED = processors.TemplateProcessing(single=f"$A {END}", special_tokens=[(END, END_ID)])


def unit_of(tokenizer: Tokenizer) -> str:
    """ "word", "character" or "subword": what its ids stand for."""
    if tokenizer.pre_tokenizer is None:
        return "character"
    return "word" if tokenizer.decoder is None else "subword"


def stretches(text: str, unit: str) -> Sequence[str]:
    """What the tokenizers library treats alike wherever it stands, so that a stretch seen before needs no second look.

    Words: what single spaces separate, which may be nothing, or several words. Characters: each. Subwords: as
    `subword_stretches`.
    """
    if unit == "subword":
        return subword_stretches(text)
    return text.split(" ") if unit == "word" else text


def build_subwords(
    lines: Callable[[], Iterable[str]], *, subwords: str, size: int, lowercase: bool = False,
    normalise: str | None = None, pool: Pool = ALONE,
) -> Tokenizer:  # fmt: skip
    """As `build_tokenizer`, for the unit "subword"; ``subwords``: "bpe" or "unigram"; ``lines`` reads the text anew."""
    normalizer = _normalizer(normalise, lowercase)
    tokenizer = subword_tokenizer(lambda: batches(lines(), COUNTED), subwords, size, (UNKNOWN, END), normalizer, pool)
    tokenizer.post_processor = _ENDED
    return tokenizer


def build_tokenizer(
    lines: Iterable[str],
    *,
    unit: str,
    lowercase: bool = False,
    tokenised: bool = False,
    normalise: str | None = None,
    min_count: int = 1,
    max_size: int | None = None,
) -> Tokenizer:
    """The tokenizer of the training text ``lines``; encoding a line with it appends ``<eos>``.

    unit: "word" or "character". tokenised: words are what white space separates; else each punctuation mark is a word
    of its own. normalise: the form of Unicode that the text is in, and that what is read later is brought to, or None.
    max_size counts ``<unk>`` and ``<eos>``. A word of the text spelled ``<unk>`` is the unknown word.
    Raises UserError if nothing occurs ``min_count`` times.
    """
    from unrolled.corpus.type_counts import counts_in  # here, not above: Arrow takes a tenth of a second to import

    pieces = pieces_for(unit, lowercase=lowercase, tokenised=tokenised, normalise=normalise)
    blocks = ("".join(f"{line}\n" for line in batch).encode() for batch in batches(lines))
    return tokenizer_of((counts_in(block, pieces) for block in blocks), pieces, min_count=min_count, max_size=max_size)


def pieces_for(unit: str, *, lowercase: bool, tokenised: bool, normalise: str | None) -> Pieces:
    """What a text is cut into, as the arguments of `build_tokenizer` say."""
    splitter = pre_tokenizers.WhitespaceSplit() if tokenised else pre_tokenizers.BertPreTokenizer()
    return Pieces(_normalizer(normalise, lowercase), splitter if unit == "word" else None)


def tokenizer_of(
    counts: Iterable[Any], pieces: Pieces, *, min_count: int = 1, max_size: int | None = None,
    pool: Pool = ALONE, folder: Path | None = None,
) -> Tokenizer:  # fmt: skip
    """As `build_tokenizer`; ``counts``: those of `counts_in`, block by block of the training text.

    ``folder``: where what memory does not hold is put aside.
    """
    from unrolled.corpus.type_counts import rank  # here: see `build_tokenizer`

    ranked = rank(counts, min_count=min_count, max_types=max_size, pool=pool, folder=folder)
    kept = [word for word in ranked if word not in (UNKNOWN, END)][: None if max_size is None else max_size - 2]
    if not kept:
        raise UserError(
            f"the vocabulary comes out empty: no {pieces.unit} of the training text occurs {min_count} times; "
            "lower vocabulary.min_count or give more text"
        )
    vocabulary = {word: index for index, word in enumerate([UNKNOWN, END, *kept])}
    if pieces.splitter is not None:
        tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
        tokenizer.pre_tokenizer = pieces.splitter
    else:
        # Byte-pair encoding without a merge is one token a character, three times as fast as splitting words into them.
        tokenizer = Tokenizer(models.BPE(vocabulary, [], unk_token=UNKNOWN))
        tokenizer.decoder = decoders.Fuse()
    if pieces.normalizer is not None:
        tokenizer.normalizer = pieces.normalizer
    tokenizer.post_processor = _ENDED
    return tokenizer


def _normalizer(form: str | None, lowercase: bool) -> normalizers.Normalizer | None:
    steps = ([normalizers.NFC()] if form == "NFC" else []) + ([normalizers.Lowercase()] if lowercase else [])
    return None if not steps else steps[0] if len(steps) == 1 else normalizers.Sequence(steps)


def pieces_in(
    text: str, normalizer: normalizers.Normalizer | None, splitter: pre_tokenizers.PreTokenizer | None
) -> Sequence[str]:
    """What a tokenizer of these two looks up, an id each: the words of a text, or its characters, normalised."""
    text = text if normalizer is None else normalizer.normalize_str(text)
    return text if splitter is None else [word for word, _ in splitter.pre_tokenize_str(text)]


def load_tokenizer(path: Path) -> Tokenizer:
    """A tokenizer.json that the vocabulary stage wrote. Raises UserError if it is missing or damaged."""
    if not path.is_file():
        raise UserError(f"{path} does not exist; `dvc repro vocabulary` writes it")
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the Rust side raises plain Exception
        raise UserError(
            f"{path} is not a valid tokenizer.json ({error}); `dvc repro -f vocabulary` writes it again"
        ) from None


def encode_line(tokenizer: Tokenizer, line: str, *, end: bool = True) -> list[int]:
    """The ids of a line, with the ``<eos>`` that ends it or, for a line that is to be continued, without."""
    ids: list[int] = tokenizer.encode(line, add_special_tokens=end).ids
    return ids


def encode_opening(tokenizer: Tokenizer, text: str, reading: Reading = PLAIN, name: str = "the text") -> list[int]:
    """The ids of a text that is to be continued: its lines, each ended, and what stands after the last line end.

    Raises UserError with ``name`` for what no file of text holds: a NUL, or half of a character.
    """
    lines, last = opened(text, reading, name)
    ended = [index for line in lines for index in encode_line(tokenizer, line)]
    return ended + encode_line(tokenizer, last, end=False)


def spelled(tokenizer: Tokenizer, index: int) -> str:
    """What an id stands for, as a text spells it."""
    if unit_of(tokenizer) == "subword" and index not in (UNKNOWN_ID, END_ID):
        return str(tokenizer.decode([index]))
    return str(tokenizer.id_to_token(index))


def decode(tokenizer: Tokenizer, ids: Sequence[int]) -> str:
    """The text of ids, a line end for each ``<eos>``. Words are joined by single spaces; characters as they were."""
    lines: list[list[int]] = [[]]
    for index in ids:
        if index == END_ID:
            lines.append([])
        else:
            lines[-1].append(index)
    return "\n".join(tokenizer.decode(line, skip_special_tokens=False) for line in lines)
