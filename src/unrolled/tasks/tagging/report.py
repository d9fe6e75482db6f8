"""What the report says of a tagger beyond its scores."""

from unrolled.report.wording import Wording

WORDING = Wording(
    title="Recurrent taggers",
    loss="loss, nats per word",
    cluster="sentence",
    baselines={
        "most_frequent": "most frequent tag",
        "tnt": "TnT (hidden Markov model)",
        "perceptron": "averaged perceptron",
        "crf": "conditional random field",
    },
    measured={"most_frequent": "most_frequent_accuracy"},
    chance="most_frequent",
    of_text={"unknown_share": ("unknown words", ".2%"), "unknown_tags": ("words of a tag unknown to training", ",.0f")},
    beside={
        "known_accuracy": "known, %",
        "unknown_accuracy": "unknown, %",
        "sentence_accuracy": "whole sentences, %",
        "macro_f1": "macro F1, %",
        "chunk_f1": "F1 of chunks, %",
    },
    measures={"calibration_error": "calibration error"},
    notes={
        "scores": "Words as the corpus cuts them, each scored once, padding never. Unknown: the word as it is written, "
        "case kept, does not occur in the training split. Macro F1: the mean over the tags that the test split holds, "
        "so a rare tag weighs as much as a frequent one. A word whose tag training lacks counts as an error. Whole "
        "sentences: those without an error. F1 of chunks: as conlleval reads them, where an I- that follows no chunk "
        "of its type begins one. Most frequent tag: the one that training gives the word most often, and to unknown "
        "words the commonest of those seen once; a network below it has learned nothing. TnT and averaged perceptron: "
        "NLTK's. Conditional random field: CRFsuite's, {crf_iterations} iterations over the word, its affixes of up "
        "to four letters, its shape, and the two words on either side.",
        "variants": "Calibration error: the mean distance between how sure the network is and how often it is right.",
        "gradients": "The main stack is the one that reads from left to right.",
    },
    figures={
        "score": (
            "Accuracy by epoch",
            "On the validation split. The weights of the epoch with the highest accuracy are the ones that are tested.",
        ),
    },
)
