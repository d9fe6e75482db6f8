"""The only reader of params.yaml."""


class UserError(Exception):
    """A mistake of the user's: its message is one line that says what is wrong, where, and the mend."""
