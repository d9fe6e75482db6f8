"""What the lecture says of language models conditioned on speech, beside what a comparison says of them."""

from collections.abc import Iterator

from unrolled.report.lecture import Results, Statement


def statements(results: Results) -> Iterator[Statement]:
    names = ("rnn-clipped", "lstm-clipped", "bilstm-clipped")
    if found := results.figures("word_error_rate", *names):
        bits = results.figures("bits_heard", *names)
        heard = f" Of what a sentence's words hold, {max(bits):.1f} bits were told by the sound." if bits else ""
        yield Statement(
            "uses", "Told by attention what was said, a language model writes it down.", "make repro PIPELINE=speech",
            f"Words that are wrong: RNN {found[0]:.1%}, LSTM {found[1]:.1%}, BiLSTM {found[2]:.1%}.{heard}",
            max(found) < 0.2,
        )  # fmt: skip
