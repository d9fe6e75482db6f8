"""What the lecture says of sentiment, beside what a comparison says of it."""

from collections.abc import Iterator

from unrolled.report.lecture import Results, Statement


def statements(results: Results) -> Iterator[Statement]:
    names = ("rnn-clipped", "lstm-clipped", "bilstm-clipped", "nb_svm", "most_frequent")
    if found := results.figures("accuracy", *names):
        rnn, lstm, bilstm, counted, frequent = found
        yield Statement(
            "uses", "One label for a whole text: what a recurrent network read is enough to tell praise from blame.",
            "make repro PIPELINE=classification",
            f"Labels that are right: RNN {rnn:.1%}, LSTM {lstm:.1%}, BiLSTM {bilstm:.1%}; a guess {frequent:.1%}. "
            f"Counting words and pairs of them, without any order beyond that, gets {counted:.1%}.",
            min(rnn, lstm, bilstm) > frequent,
        )  # fmt: skip
