"""A remote as those of clouds are: moto's server speaks S3 on the loopback; `make check-cluster` installs it."""

import logging
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from over_workers import CLIPPED, made, workers
from project import GRID, Project, running

pytest.importorskip("dvc_s3")
moto = pytest.importorskip("moto.server")
pytestmark = [pytest.mark.cluster, pytest.mark.filterwarnings("default")]  # Dask's processes end when they will
KEYS = {"AWS_ACCESS_KEY_ID": "made-up", "AWS_SECRET_ACCESS_KEY": "not-to-travel", "AWS_DEFAULT_REGION": "us-east-1"}


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a server with an empty bucket, whose keys stand in the environment."""
    import boto3

    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=True)
    server.start()
    host, port = server.get_host_and_port()
    boto3.client("s3", endpoint_url=f"http://{host}:{port}").create_bucket(Bucket="bucket")
    yield f"http://{host}:{port}"
    server.stop()


def test_a_remote_that_speaks_s3(
    project: Project, endpoint: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    project.edit(clipping=CLIPPED, arch={"rnn": GRID["rnn"]})
    project.must("dvc", "remote", "modify", "--local", "ours", "url", "s3://bucket/unrolled")
    project.must("dvc", "remote", "modify", "--local", "ours", "endpointurl", endpoint)
    for key in ("access_key_id", "secret_access_key"):
        project.must("dvc", "remote", "modify", "--local", "ours", key, KEYS[f"AWS_{key.upper()}"])
    caplog.set_level(logging.INFO, logger="werkzeug")
    with workers(1, tmp_path / "workers") as address:
        said = project.must("scripts/repro.sh", "2", CLUSTER=address)
        first = requests(caplog)
        assert made(said) == {"rnn-clipped-1"}
        assert KEYS["AWS_SECRET_ACCESS_KEY"] not in said
        (config,) = (tmp_path / "workers").glob("**/unrolled/clone/.dvc/config.local")
        assert endpoint in config.read_text() and KEYS["AWS_SECRET_ACCESS_KEY"] not in config.read_text()
        project.edit(seeds=[1, 2])
        assert made(project.must("scripts/repro.sh", "2", CLUSTER=address)) == {"rnn-clipped-2"}
        second = requests(caplog)
        said = project.must("scripts/repro.sh", "2", CLUSTER=address)
        third = requests(caplog)
        assert "2 of 2 arms are up to date or in the run cache" in said and not running(said)
    print("requests: the first arm", first, "the second arm", second, "nothing to do", third)


def requests(caplog: pytest.LogCaptureFixture) -> Counter[str]:
    """How often the server was asked since, by method."""
    lines = [record.getMessage() for record in caplog.records if record.name == "werkzeug"]
    caplog.clear()
    return Counter(found[1] for line in lines if (found := re.search(r"(GET|PUT|POST|HEAD|DELETE) /bucket", line)))
