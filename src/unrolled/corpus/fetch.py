"""Public corpora, checked by sha256, from their publisher or from a mirror of the same files."""

import hashlib
import os
import re
import shutil
import sys
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit
from urllib.request import url2pathname

import pooch
import requests

from unrolled.corpus.catalogue import PublicFile
from unrolled.corpus.files.packed import archive_errors
from unrolled.ground.atomic import whole_folder
from unrolled.shell.errors import UserError

RETRIES = 2  # after a broken or wrong download; pooch waits 1 s, then 2 s
MEND = "; UNROLLED_MIRROR=<folder or address> names another place to download it from"


def fetch(files: Sequence[PublicFile], folder: Path, mirror: str | None = None, *, retries: int = RETRIES) -> None:
    """Fill ``folder`` with the files, each with the right sha256 (see `PublicFile`); it appears whole or not at all.

    ``mirror`` is a folder or an address (http, https) that holds files of these names, as ``mirror_within`` gives it.
    A broken download is started again. Raises UserError if a file cannot be had or has a wrong sha256.
    """
    from_folder = mirror is not None and "://" not in mirror
    with whole_folder(folder) as partial:
        shop = pooch.create(
            path=partial,
            base_url="",
            registry={file.name: None if file.members or file.blob else f"sha256:{file.sha256}" for file in files},
            urls={file.name: _address(file, mirror) for file in files},
            retry_if_failed=0 if from_folder else retries,
        )
        pooch.get_logger().setLevel("WARNING")
        for file in files:
            address = shop.get_url(file.name)
            try:
                shop.fetch(file.name, downloader=_copy if from_folder else _download)
            except requests.HTTPError as error:
                raise UserError(f"{file.name}: {error}{MEND}") from None
            except requests.RequestException as error:
                place = urlsplit(address).netloc.rpartition("@")[2]
                raise UserError(
                    f"{file.name}: no answer from {place} ({type(error).__name__}): is there a network?{MEND}"
                ) from None
            except OSError as error:
                if error.filename != address:
                    raise
                raise UserError(f"{file.name} is not in UNROLLED_MIRROR: {address}: {error.strerror}") from None
            except ValueError as error:
                # pooch says so, but in three sentences
                if "does not match the known hash" not in str(error):
                    raise
                raise UserError(
                    f"{address}: wrong sha256 (expected {file.sha256}): the file is damaged or another one; not used"
                ) from None
            if file.members or file.blob:  # of the others pooch has seen to the sha256
                check(partial / file.name, file, address)


def check(path: Path, file: PublicFile, address: str) -> None:
    """UserError where the file at ``path``, had from ``address``, is damaged or holds something else than ``file``."""
    if file.members:
        _check_members(path, file, address)
        return
    kind, expected = ("git id", file.blob) if file.blob else ("sha256", file.sha256)
    found = hashlib.sha1(b"blob %d\0" % path.stat().st_size) if file.blob else hashlib.sha256()
    with path.open("rb") as content:
        if hashlib.file_digest(content, lambda: found).hexdigest() != expected:
            raise UserError(
                f"{address}: wrong {kind} (expected {expected}): the file is damaged or another one; not used"
            )


def _check_members(archive: Path, file: PublicFile, address: str) -> None:
    """Nothing is unpacked."""
    wanted, lines = re.compile(file.members), []
    with archive_errors(address), zipfile.ZipFile(archive) as members:
        for name in filter(wanted.fullmatch, members.namelist()):
            with members.open(name) as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()  # type: ignore[arg-type]
            lines.append((PurePosixPath(name).name.encode(), digest.encode()))
    content = b"".join(digest + b"  " + name + b"\n" for name, digest in sorted(lines))
    if hashlib.sha256(content).hexdigest() != file.sha256:
        raise UserError(
            f"{address}: wrong sha256 over the {len(lines):,} members that count (expected {file.sha256}): one is "
            "missing, damaged or another; not used"
        )


def mirror_within(root: str | None) -> str | None:
    """UNROLLED_MIRROR: an address, or a folder; a relative one resolved where the user stands, UserError if neither.

    DVC runs an experiment in a temporary copy and names the user's repository ``root`` (its DVC_ROOT), which holds
    only if the working directory lies under it.
    """
    mirror = _folder_of(os.environ.get("UNROLLED_MIRROR", ""))
    # Path's own is_dir() raises an error for a name that is too long.
    if not mirror or "://" in mirror or Path(mirror).is_absolute() or os.path.isdir(mirror) or root is None:
        return mirror or None
    return str(Path(root) / mirror) if Path.cwd().is_relative_to(root) else mirror


def _folder_of(mirror: str) -> str:
    """The folder that a file: address names, all else as it is; UserError for an address that nothing is had from."""
    address = mirror.strip()
    if "://" not in address and not address.lower().startswith("file:"):
        return mirror
    with suppress(ValueError):  # a port or an IPv6 address that is none
        parts = urlsplit(address)
        if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0:
            return address
        if parts.scheme == "file" and parts.netloc in ("", "localhost") and parts.path and "%00" not in parts.path:
            return url2pathname(parts.path)
    raise UserError(
        f"UNROLLED_MIRROR={address} names no place; use /a/folder, file:///a/folder or https://a.host/folder"
    )


def _address(file: PublicFile, mirror: str | None) -> str:
    return file.address if mirror is None else f"{mirror.rstrip('/')}/{file.name}"


def _copy(address: str, output_file: str, shop: pooch.Pooch) -> None:
    """A pooch downloader for a folder."""
    shutil.copyfile(address, output_file)


def _download(address: str, output_file: str, shop: pooch.Pooch) -> None:
    """pooch's choice for the protocol, with progress where someone looks on."""
    choose = pooch.downloaders.choose_downloader(address, progressbar=sys.stderr.isatty())
    choose(address, output_file, shop)
