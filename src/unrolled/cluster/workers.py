"""Who of a cluster's workers may take part: whoever's versions and processor are this machine's, and has room."""

import os
import sys
from pathlib import Path

import cloudpickle
import distributed

from unrolled.cluster import environment as environments
from unrolled.cluster import worker
from unrolled.cluster.arms import Remote
from unrolled.cluster.code import Code
from unrolled.shell.errors import UserError

HANDED_ON = ("UNROLLED_DEVICE", "UNROLLED_COMPILED", "UNROLLED_DEBUG", "NO_COLOR")  # of the environment, to the stages
OF_A_WORKER = "UNROLLED_TRAIN_PROCESSES"  # as its threads are, and its GPUs


class Workers:
    """The workers of a scheduler: those that were given the code, and those that were refused, and why."""

    def __init__(
        self, client: distributed.Client, root: Path, code: Code | None, remote: Remote, any_worker: bool
    ) -> None:
        self.client, self._remote, self._any = client, remote, any_worker
        self._code = code
        self._here = environments.environment(environments.packages_of(root / "requirements.lock"))
        self.differences: dict[str, str] = {}  # of each that was admitted, empty where it is as this machine
        self.refused: dict[str, str] = {}
        # The name is of all that makes a worker fit, so that another head's workers are not taken for ours.
        self.resource = f"unrolled-{environments.digest(self._here)}{'-any' if any_worker else ''}"
        for module in (worker, environments):
            cloudpickle.register_pickle_by_value(module)

    @property
    def code(self) -> Code:
        assert self._code is not None
        return self._code

    def admit(self) -> None:
        """Compare the workers that are new, and give them the code; UserError where in the end none is admitted."""
        known = self.client.scheduler_info(n_workers=-1)["workers"]
        for gone in self.differences.keys() - known.keys():
            del self.differences[gone]
        if new := [each for each in known if each not in self.differences and each not in self.refused]:
            self._admit(new)
        if not self.differences:
            said = "; ".join(f"{each}: {why}" for each, why in self.refused.items() if each in known)
            if not said:
                raise UserError("the cluster has no workers; start one with: dask worker ADDRESS --nworkers 1")
            raise UserError(
                f"no worker of the cluster is admitted ({said}); UNROLLED_ANY_WORKER=1 accepts other versions"
            )

    def _admit(self, new: list[str]) -> None:
        run, names = self.client.run, [name for name in self._here if name not in ("Python", "processor")]
        environment = run(environments.environment, names, workers=new, on_error="return")
        for each, there in environment.items():
            why = str(there) if isinstance(there, Exception) else environments.differences(self._here, there)
            if why and (not self._any or isinstance(there, Exception)):
                self._refuse(each, why)
            elif self._code is None:
                self.differences[each] = why
            elif hindered := self._give(each):
                self._refuse(each, hindered)
            else:
                self.differences[each] = why
                say(f"worker {each} takes part" + (f", though it differs: {why}" if why else ""))

    def _give(self, address: str) -> str:
        """The code and leave to work, to one worker; what hindered that."""
        told = (self.code.commits, self.code.bundle, self._remote._asdict())
        said = self.client.run(worker.receive, *told, workers=[address], on_error="return")[address]
        if said:
            return str(said)
        self.client.run(worker.admit, self.resource, workers=[address])
        self.client.run_on_scheduler(worker.reconsider, address)
        return ""

    def _refuse(self, address: str, why: str) -> None:
        self.refused[address] = why
        say(f"worker {address} is refused: {why}")


def say(line: str) -> None:
    """To the user, beside what the workers say."""
    print(line, file=sys.stderr, flush=True)


def handed_on() -> dict[str, str]:
    """What of the environment here goes to the stages; said of what does not, though one may think so."""
    if os.environ.get(OF_A_WORKER):
        say(f"{OF_A_WORKER} is not handed on: each worker goes by that of its own environment")
    return {name: os.environ[name] for name in HANDED_ON if name in os.environ}
