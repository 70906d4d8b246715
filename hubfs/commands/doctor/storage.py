"""The cache directory, the log, the catalogue file."""

import fcntl
import os
import stat
import tempfile
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from pkgutil import resolve_name

from hubfs.commands.doctor.finding import Finding, ok, problem, warning
from hubfs.daemon import log_file
from hubfs.errors import HubfsError, Untrusted
from hubfs.hubs.names import names_at
from hubfs.hubs.registry import KINDS
from hubfs.mounts.table import type_of
from hubfs.settings.config import Config

_NETWORK = ("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "glusterfs", "lustre")
_ROOM_BYTES = 1 << 30
_PROBE_BYTES = 1 << 20
_REFUSED_NAMED = 5


def examine(config: Config) -> Iterator[Finding]:
    """Everything that is kept on this machine."""
    for text in config.warnings:
        yield warning("config", text, "every user who reads a secret can use it: renew it if it was there for long")
    if config.cache_dir is None:
        yield ok("cache", "none on disk: blocks are kept in memory only")
    else:
        yield from cache_directory(config.cache_dir)
    if config.extracted_dir is not None:
        yield from extracted_models(config.extracted_dir)
    yield log(config)
    if config.catalog is not None:
        yield catalogue(config.catalog, config.hub)


def cache_directory(directory: Path) -> Iterator[Finding]:
    """Whether blocks can be kept there; what does not exist yet is looked for further up, and left alone."""
    existing = _nearest(directory)
    advice = "--cache-dir names another directory, --no-disk-cache goes without"
    if not existing.is_dir():
        yield problem("cache", f"{existing} is not a directory", advice)
        return
    try:
        with tempfile.TemporaryFile(dir=existing) as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            file.truncate(_PROBE_BYTES)
            is_sparse = os.fstat(file.fileno()).st_blocks * 512 < _PROBE_BYTES
    except OSError as error:
        yield problem("cache", f"{existing} cannot be written to, or not locked ({error.strerror})", advice)
        return
    yield ok("cache", f"{directory} {'can be used' if existing == directory else 'can be made'}")
    if not is_sparse:
        yield warning("cache", "its file system knows no sparse files: a model takes its whole size at once", advice)
    kind = _file_system(existing)
    if kind in _NETWORK:
        yield warning("cache", f"it is on a network ({kind})", f"a local disk is faster, and does not hang: {advice}")
    if existing == directory:
        yield _rights(directory)
    room = os.statvfs(existing)
    free_bytes = room.f_bavail * room.f_frsize
    if free_bytes < _ROOM_BYTES:
        yield warning(
            "disk", f"{free_bytes >> 20} MiB are free where the cache is: little of a model will be kept", advice
        )
    else:
        yield ok("disk", f"{free_bytes >> 30} GiB are free where the cache is")


def extracted_models(directory: Path) -> Iterator[Finding]:
    """Which models that hubs' own clients extracted are not served, since other users could have put them there."""
    asked = (resolve_name(kind.refusals)(directory) for kind in KINDS if kind.refusals)
    refused = [*islice(chain.from_iterable(asked), _REFUSED_NAMED + 1)]
    for reason in refused[:_REFUSED_NAMED]:
        yield warning("extracted", f"not served: {reason}", Untrusted.advice)
    if len(refused) > _REFUSED_NAMED:
        yield warning("extracted", f"more of {directory} is not served, for the same reason", Untrusted.advice)
    if not refused:
        yield ok("extracted", f"what was extracted to {directory} is root's and this user's alone")


def _nearest(path: Path) -> Path:
    """What there is of it, as far as this user may look."""
    return next(
        each
        for each in (path, *path.parents)
        if os.path.exists(each)  # noqa: PTH110 - Path's own raises where one may not look
    )


def _rights(directory: Path) -> Finding:
    mode = directory.stat()
    if mode.st_uid != os.geteuid():
        return warning(
            "cache", f"{directory} belongs to another user", "who owns it may read and change what is cached"
        )
    if mode.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        return warning(
            "cache", f"{directory} is open to other users ({stat.filemode(mode.st_mode)})", f"chmod 700 {directory}"
        )
    return ok("cache", f"{directory} is for this user alone")


def _file_system(path: Path) -> str:
    """The type of the file system that holds `path`, as the kernel calls it."""
    return type_of(path.stat().st_dev) or "unknown"


def log(config: Config) -> Finding:
    """Whether a mount in the background can write its log: the one that is named, or one in the user's directory."""
    subject = "log"
    if config.log_file is None and config.cache_dir is None:
        return ok(subject, "none without a disk cache: `hubfs status --json` shows the last problems")
    path = config.log_file or log_file.default_directory()
    is_directory = config.log_file is None
    existing = _nearest(path)
    fits = existing.is_dir() == (is_directory or existing != path)
    if path.is_absolute() and fits and _is_writable(existing):
        return ok(subject, f"{path}{'/<mount point>.log' if is_directory else ''}")
    return warning(
        subject, f"{path} cannot be written: mounts work, and log nothing", "--log-file names a file that can be"
    )


def _is_writable(path: Path) -> bool:
    """Whether this user can write to a file, or make one in a directory: root has the right to, and in /proc cannot."""
    if not path.is_dir():
        return os.access(path, os.W_OK)
    try:
        with tempfile.TemporaryFile(dir=path):
            return True
    except OSError:
        return False


def catalogue(path: Path, hub_url: str) -> Finding:
    """Whether the catalogue file can be understood, of a hub at `hub_url`."""
    try:
        handles = names_at(hub_url, catalog=path).written()
    except HubfsError as error:
        return problem("catalogue", str(error), "hubfs catalog import makes one; see docs/CATALOGUE.md")
    return ok("catalogue", f"{len(handles):,} handles in {path}")
