"""The errors that are a user's mistake, not ours."""


class UserError(Exception):
    """Its message is one line that says what is wrong, where, and the mend."""


def laboratory_missing(error: ModuleNotFoundError) -> str:
    """That line, where ``error`` comes of an installation of the library alone; any other is raised again."""
    if error.name is None or error.name.split(".")[0] == "unrolled":  # a defect of ours
        raise error
    return (
        f"this needs the laboratory, and its module {error.name} is not installed; in a clone, "
        "pip install '.[lab]' installs it, elsewhere pip install 'unrolled[lab]'"
    )
