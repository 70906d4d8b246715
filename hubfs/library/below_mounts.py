"""Where a handle is, below a mount of this machine."""

import contextlib
import errno
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hubfs.blobs.http.url import without_secrets
from hubfs.errors import HubfsError, InvalidHandle, ModelNotFound, MountFailed, Unavailable
from hubfs.hubs.names import names_at
from hubfs.hubs.registry import spelled_out
from hubfs.mounts import presence
from hubfs.mounts import table as mount_table
from hubfs.mounts.processes import is_stopped
from hubfs.mounts.table import State

_OF_MODELS = "user.hubfs.handle"
"""The attribute that tells a model from a directory which could only lead to one (a number in a name)."""

_NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ENODATA)


def below_a_mount(text: str, hub: str | None = None) -> Path:
    """The directory of a handle, of a name without version (its latest), or of the URL of either on a mounted hub.

    `NAME/HANDLE` is the handle below the hub NAME of a mount of several hubs. Where that hub has no such model, the
    text is looked for as a handle of every hub; or of the hub at the URL `hub` alone. Raises `MountFailed` where no
    such hub is mounted, `ModelNotFound`, `InvalidHandle`, and `Unavailable` where a mount cannot answer.
    """
    text = spelled_out(text)
    # Another user's are not even asked whether they are there: any number may be silent.
    found = mount_table.of_each(lambda where: _look(where) if mount_table.is_believed(where) else _Found(where))
    hubs = [
        (one.where, directory, url)
        for one in found
        for directory, url in one.hubs.items()
        if hub is None or url == without_secrets(hub)
    ]
    asked = _asked(hubs, text)
    untold = [one.reason for one in found if one.reason]
    if not asked:
        raise _not_mounted(text, found, untold)
    troubles = []
    for where, name, is_link in asked:
        path = where / name
        try:
            if is_link:
                path = Path(os.path.normpath(path.parent / path.readlink()))
            os.getxattr(path, _OF_MODELS)
            os.close(os.open(path, os.O_RDONLY | os.O_DIRECTORY))  # a catalogue may name what the hub does not give
        except OSError as error:
            if error.errno in _NOT_THERE:
                continue
            troubles.append(f"{path} cannot be read: {_reason(path, error)}")
        else:
            return path
    if troubles:
        raise Unavailable(f"{text} was not found: {'; '.join([*troubles, *untold])}")
    below = f"{text} was not found below {', '.join(str(where) for where, *_ in asked)}"
    if untold:
        raise Unavailable(f"{below}; and {'; '.join(untold)}")
    raise ModelNotFound(f"{below}; see `hubfs status`")


def _asked(hubs: Sequence[tuple[Path, str, str]], text: str) -> Sequence[tuple[Path, str, bool]]:
    """Where `text` may be: the roots of hubs, and a path below each; of a name without a version, of a symlink to it.

    `hubs` are mounts, each with the directory and the URL of a hub. Raises `InvalidHandle` if no hub could have it.
    """
    said = [(hub, text.removeprefix(f"{hub[1]}/")) for hub in hubs if hub[1] and text.startswith(f"{hub[1]}/")]
    asked: list[tuple[Path, str, bool]] = []
    invalid: InvalidHandle | None = None
    for (where, directory, url), name in [*said, *((hub, text) for hub in hubs)]:
        try:
            names = names_at(url)
            found = names.find(name)
        except InvalidHandle as error:  # noqa: PERF203 - a mount has a few hubs
            invalid = invalid or error
        else:
            if found is not None:
                asked.append((where / directory, names.path(*found), found[1] is None))
    if invalid and not asked:
        raise invalid
    return asked


@dataclass(frozen=True)
class _Found:
    """A mount: the URLs of its hubs by directory, or why they cannot be told. Neither, for another user's."""

    where: Path
    hubs: Mapping[str, str] = field(default_factory=dict)
    reason: str = ""


def _look(where: Path) -> _Found:
    try:
        state, said = mount_table.state_of(where, mount_table.ABOUT)
    except MountFailed:  # unmounted just now
        return _Found(where)
    said = said or {}
    hubs = said.get("hubs", {"": said.get("hub")})
    match state:
        case State.ALIVE if isinstance(hubs, dict) and all(isinstance(url, str) for url in hubs.values()):
            return _Found(where, hubs)
        case State.DEAD:
            return _Found(where, reason=f"the daemon of {where} is gone; `hubfs mount {where}` mounts it again")
        case State.SILENT:
            return _Found(where, reason=_why_silent(where))
        case State.SHUT:
            return _Found(where)
    return _Found(where, reason=f"{where} does not say which hub it is of: another version of hubfs mounted it")


def _not_mounted(text: str, found: Sequence[_Found], untold: Sequence[str]) -> HubfsError:
    others = any(one.hubs for one in found)
    if untold:  # it may be there
        so_far = f"The hub of {text} is not mounted" if others else f"{text} was not found"
        return Unavailable(f"{so_far}; but {'; '.join(untold)}")
    if others:
        what = f"The hub of {text} is not mounted"
    elif found:  # another user's models would run with the rights of the user that resolves them
        what = "No hub that you or root mounted is there"
    else:
        what = f"No hub is mounted, so {text} is nowhere"
    return MountFailed(f"{what}; `hubfs mount MOUNTPOINT` does it")


def _why_silent(where: Path) -> str:
    device = mount_table.device_of(where)
    pid = None if device is None else presence.find(presence.of_daemon(device), {0, os.geteuid()})
    if pid is not None and is_stopped(pid):
        why = f"its daemon (process {pid}) is stopped; `kill -CONT {pid}` lets it go on"
    else:
        why = f"no answer came within {mount_table.ANSWER_S:g} s"
    return f"{where} does not answer: {why}, `hubfs unmount --force {where}` ends it"


def _reason(path: Path, error: OSError) -> str:
    """What the mount says of the model, else what the system says.

    The directory above says it: nothing at all can be asked of a path that cannot be looked up.
    """
    with contextlib.suppress(OSError):
        for line in os.getxattr(path.parent, "user.hubfs.error").decode(errors="replace").splitlines():
            version, _, reason = line.partition(": ")
            if version == path.name:
                return reason
    return f"{error.strerror}; see `hubfs status`"
