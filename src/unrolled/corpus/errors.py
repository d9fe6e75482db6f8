"""The one error of this floor."""

from unrolled.errors import UserError


class CorpusError(UserError):
    """Text, an archive or a download that cannot be used: one line that says what, where, and the mend."""
