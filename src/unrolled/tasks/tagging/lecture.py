"""What the lecture says of sequence tagging, beside what a comparison says of it."""

from collections.abc import Iterator

from unrolled.report.lecture import Results, Statement


def statements(results: Results) -> Iterator[Statement]:
    if found := results.figures("accuracy", "rnn-clipped", "lstm-clipped", "bilstm-clipped", "most_frequent"):
        rnn, lstm, bilstm, frequent = found
        yield Statement(
            "uses", "A tag may depend on the next word: reading from both sides helps a tagger more than memory does.",
            "make repro PIPELINE=tagging",
            f"Parts of speech that are right: RNN {rnn:.2f} %, LSTM {lstm:.2f} %, BiLSTM {bilstm:.2f} %; "
            f"{frequent:.2f} % with each word's most frequent tag.",
            bilstm - lstm > lstm - rnn,
        )  # fmt: skip
