"""What DVC knows of arms: which are out of date, what they are made of, and what its run cache holds of them."""

import hashlib
import re
from collections.abc import Iterable, Iterator
from contextlib import chdir, contextmanager
from pathlib import Path
from typing import NamedTuple

from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.stage.cache import RunCacheNotFoundError

from unrolled.shell.errors import UserError
from unrolled.shell.workspace import repository

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
        if str(stated["url"]).startswith("http"):
            raise UserError(f"DVC keeps no run cache at {stated['url']}, which a cluster needs: name another remote")
        options = {key: str(value) for key, value in stated.items() if key not in DEFAULTS and not SECRET.search(key)}
        return cls(name, str(stated["url"]), options)


class Workspace(NamedTuple):
    """A pipeline's folder and its arms: the user's own, or a copy as ``experiment`` of DVC's queue has it."""

    folder: Path
    arms: tuple[str, ...]
    experiment: str = ""

    @property
    def root(self) -> Path:
        """Of the working tree that it lies in."""
        return repository(self.folder, {})

    def named(self, arm: str) -> str:
        return f"{arm} of {self.experiment}" if self.experiment else arm


class Stale(NamedTuple):
    """An arm that somebody has yet to make, and digests of what its training and all of it is made of."""

    workspace: Workspace
    arm: str
    training: str
    whole: str

    @property
    def name(self) -> str:
        return self.workspace.named(self.arm)


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
    """DVC's repository around ``place``, gone to, which no other DVC writes to meanwhile; its errors as a UserError."""
    try:  # DVC looks for stages where it is
        with chdir(place), Repo() as repo, repo.lock:
            yield repo
    except DvcException as error:
        raise UserError(f"DVC: {error}") from error


def bring_run_cache(repo: Repo) -> None:
    """Copy what the remote's run cache holds into that of ``repo``; outputs come with `restored`.

    DVC itself would ask the remote for each entry once more that is here already.
    """
    remote, here = repo.cloud.get_remote_odb(None, "fetch --run-cache", hash_name="md5-dos2unix"), repo.cache.legacy
    try:
        for entry in remote.fs.find(remote.fs.join(remote.path, "runs")):
            to = here.fs.join(here.path, *remote.fs.relparts(entry, remote.path))
            if not here.fs.exists(to):
                here.fs.makedirs(here.fs.parent(to), exist_ok=True)
                remote.fs.get_file(entry, to)
    except DvcException:
        raise
    except Exception as error:  # each kind of remote has errors of its own
        why = next(iter(str(error).splitlines()), "")
        raise UserError(f"DVC's remote cannot be read: {type(error).__name__}: {why}") from error
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


def missing(workspace: Workspace, arms: Iterable[str]) -> list[Stale]:
    """Those of ``arms`` that somebody has yet to make, once what the run cache knows of the others has been fetched."""
    with locked_repo(workspace.folder) as repo:
        return [Stale(workspace, arm, *made_of(repo, arm)) for arm in arms if not restored(repo, arm)]


def made_of(repo: Repo, arm: str) -> tuple[str, str]:
    """Digests of what the arm's training, and the whole arm, is made of: equal ones are made once.

    Commands, and all dependencies but those that its own stages make.
    """
    found, own, digests = hashlib.sha256(), set[str](), []
    for address in chain(arm):
        (stage,) = repo.stage.collect(address)
        own |= {out.def_path for out in stage.outs}
        of_others = [dep for dep in stage.deps if not own & {dep.def_path, *map(str, Path(dep.def_path).parents)}]
        stated = sorted(f"{dep.def_path} {dep.get_hash()}" for dep in of_others)
        found.update("\0".join([str(stage.cmd), *sorted(own), *stated]).encode())
        digests.append(found.hexdigest())
    return digests[0], digests[-1]
