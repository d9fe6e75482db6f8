"""The two ids that the vocabulary and every encoded split agree on."""

UNKNOWN_ID = 0  # <unk>
END_ID = 1  # <eos>, the end of each line
