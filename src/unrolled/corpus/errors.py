"""The one error of this floor."""


class CorpusError(ValueError):
    """Text, an archive or a download that cannot be used: one line that says what, where, and the mend."""
