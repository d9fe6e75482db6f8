"""How MLflow is to behave in our processes; it reads this while it is imported, so this comes before."""

import logging
import os
from collections.abc import Mapping

DEFAULTS = {
    # MLflow's own let a dead server hang for four minutes, and a repeated request makes a second run where only the
    # answer to the first was lost.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "GIT_PYTHON_REFRESH": "quiet",
}

# What MLflow's own commands heed, and a publish cannot: the links, the saved views and the champion of each task stand
# in the experiment that bears its name.
IGNORED = ("MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID")


def ignored(environ: Mapping[str, str] = os.environ) -> str:
    """One line that names what of the caller's environment is not heeded; empty where nothing is."""
    names = [name for name in IGNORED if environ.get(name)]
    verb = "are" if len(names) > 1 else "is"
    said = f"{' and '.join(names)} {verb} ignored: each task publishes to an experiment of its own, under its own name"
    return said if names else ""


def set_mlflow_defaults() -> None:
    """Set what the caller's environment leaves open. Call it before mlflow is imported."""
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
    logging.getLogger("mlflow.store.db.utils").setLevel(
        logging.CRITICAL
    )  # what it shows as an error, it raises as well
