"""What DVC knows of arms: which are out of date, what they are made of, and what its run cache holds of them."""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.stage.cache import RunCacheNotFoundError

from unrolled.shell.errors import UserError

CHAIN = ("train", "evaluate", "probe")  # the stages of an arm, one after the other
# What a worker has of its own, in its environment or in DVC's settings of its user: it is sent to nobody.
SECRET = re.compile(r"password|secret|token|passphrase|credential|connection_string|account_key|sas|_key_id|keyfile")
DEFAULTS = {"url", "slow_link_warning", "verify", "protected"}


class Remote(NamedTuple):
    """DVC's default remote, as another machine needs it."""

    name: str
    url: str
    options: dict[str, str]

    @classmethod
    def default(cls, repo: Repo) -> "Remote":
        """UserError where there is none."""
        name = repo.config["core"].get("remote")
        if not name:
            raise UserError(
                "a cluster needs a remote that this machine and all workers reach, and DVC has no default one; "
                "dvc remote add -d ours /a/folder/that/all/see (or s3://..., ssh://..., gs://...)"
            )
        stated = repo.config["remote"].get(name, {})
        if not stated.get("url"):
            raise UserError(f"DVC's default remote {name!r} has no address; dvc remote add -d {name} /a/folder")
        options = {key: str(value) for key, value in stated.items() if key not in DEFAULTS and not SECRET.search(key)}
        return cls(name, str(stated["url"]), options)


def chain(arm: str) -> list[str]:
    """The stages of an arm, as DVC addresses them."""
    return [f"{stage}@{arm}" for stage in CHAIN]


def made_before(repo: Repo, arms: Iterable[str]) -> list[str]:
    """The stages that those of the arms stand on, and that are made once for all of them."""
    own = {address for arm in arms for address in chain(arm)}
    found = [stage for address in own for stage in repo.stage.collect(address, with_deps=True)]
    return sorted({stage.name for stage in found if stage.name} - own)


@contextmanager
def locked_repo(place: Path) -> Iterator[Repo]:
    """DVC's repository around ``place``, which no other DVC writes to meanwhile; its errors as a UserError."""
    try:
        with Repo(str(place)) as repo, repo.lock:
            yield repo
    except DvcException as error:
        raise UserError(f"DVC: {error}") from error


def bring_run_cache(repo: Repo) -> None:
    """Copy what the remote's run cache holds into that of ``repo``; outputs come with `restored`."""
    repo.stage_cache.pull(None)
    for partial in Path(repo.stage_cache.cache_dir).glob("*/*/.*"):  # somebody was at pushing it
        partial.unlink()


def restored(repo: Repo, arm: str) -> bool:
    """Whether the arm's stages stand, or could be put in place from the run cache, fetching outputs from the remote.

    Never runs a stage. dvc.lock is left to `dvc repro`, which then finds each of them cached.
    """
    for address in chain(arm):
        (stage,) = repo.stage.collect(address)
        try:
            if stage.changed():
                repo.stage_cache.restore(stage, pull=True)
        except RunCacheNotFoundError:
            return False
    return True


def missing(arms: Iterable[str], place: Path) -> list[str]:
    """The arms that somebody has yet to make, once all that the remote holds of the others has been fetched."""
    with locked_repo(place) as repo:
        bring_run_cache(repo)
        return [arm for arm in arms if not restored(repo, arm)]
