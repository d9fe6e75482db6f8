"""`unrolled ui`: MLflow's server before the store of this workspace."""

import subprocess
from pathlib import Path

from mlflow.tracking import MlflowClient
from servers import user_interface


def test_the_address_of_the_store_stands_on_no_command_line(root: Path, warm: str) -> None:
    """It may hold a password; here an option that SQLite takes stands for one."""
    with user_interface(root, warm, MLFLOW_TRACKING_URI=f"sqlite:///{root}/mlflow.db?timeout=4711") as link:
        assert MlflowClient(link.partition("/#")[0]).get_experiment_by_name("unrolled") is not None
        said = subprocess.run(["ps", "-ww", "-e", "-o", "args"], capture_output=True, text=True, check=True).stdout
    assert "mlflow server --workers 1" in said and "4711" not in said
