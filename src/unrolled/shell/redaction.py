"""What must not be shown: the credentials in an address, and those of the environment."""

import os
import re
from collections.abc import Mapping
from urllib.parse import quote, unquote

SECRETS = ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")
ADDRESSES = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")


def without_credentials(text: str) -> str:
    """The addresses in ``text`` without the user and password that they may carry, before the host or as an option."""
    text = re.sub(r"://[^/\s]+@", "://***@", text)
    return re.sub(r"(?i)([?&]\w*(?:password|secret|token)\w*=)[^&\s]+", r"\1***", text)


def redact(text: str, environ: Mapping[str, str] = os.environ) -> str:
    """``text`` without credentials: neither those of an address nor those of MLflow's environment variables."""
    secrets = [environ.get(name, "") for name in SECRETS]
    for name in ADDRESSES:
        credentials = environ.get(name, "").partition("://")[2].rpartition("@")[0]
        secrets += [credentials, credentials.partition(":")[2]]
    # As spelled in an address and as meant; a long one first, for another may be a part of it.
    for secret in sorted({form(each) for each in secrets for form in (str, quote, unquote)} - {""}, key=len)[::-1]:
        text = text.replace(secret, "***")
    return without_credentials(text)
