"""What of a machine reaches the bytes of a result: versions and processor, compared before a worker is given an arm."""

import hashlib
import json
import platform
import re
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

Environment = dict[str, str]  # what it is: what it is here


def environment(packages: Iterable[str]) -> Environment:
    """Of this process: Python, the processor, and the version of each of ``packages`` that is installed.

    Runs on workers too, where no module of ours need be there.
    """
    found = {"Python": platform.python_version(), "processor": _processor()}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "missing"
    return found


def _processor() -> str:
    """Its type, which decides about instructions, and these about rounding."""
    try:
        known = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        name = re.search(r"^model name\s*: (.*)", known, re.M)
        return f"{platform.machine()} {name[1].strip()}" if name else platform.machine()
    except OSError:  # not every system has that file
        return f"{platform.machine()} {platform.processor()}"


def packages_of(lock: Path) -> list[str]:
    """The packages that requirements.lock pins, which are those that `make` installs."""
    return sorted(set(re.findall(r"^([\w.-]+)==", lock.read_text(encoding="utf-8"), re.M)))


def differences(here: Mapping[str, str], there: Mapping[str, str], named: int = 3) -> str:
    """ "torch 2.8.0, here 2.9.1; ...", the first ``named`` of them; empty where there are none."""
    differing = [what for what in here if there.get(what) != here[what]]
    differing.sort(key=lambda what: what not in ("Python", "processor", "torch"))  # what counts most comes first
    found = [f"{what} {there.get(what)}, here {here[what]}" for what in differing]
    more = [f"and {len(found) - named} more"] if len(found) > named else []
    return "; ".join(found[:named] + more)


def digest(here: Mapping[str, str]) -> str:
    """Names an environment in eight digits."""
    return hashlib.sha256(json.dumps(here, sort_keys=True).encode()).hexdigest()[:8]
