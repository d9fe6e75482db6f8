"""The one error that is a user's mistake, not ours."""


class UserError(Exception):
    """Its message is one line that says what is wrong, where, and the mend."""
