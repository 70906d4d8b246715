"""`hubfs mount --update-fstab`: a mount as a line of /etc/fstab, so that it is there after the next start."""

import contextlib
import errno
import os
import stat
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from hubfs.blobs.http.url import without_secrets
from hubfs.commands.mount_helper import CONFIGURED
from hubfs.errors import MountFailed, printable
from hubfs.settings.secrets import SECRET, is_url

_HELPERS = (Path("/sbin/mount.hubfs"), Path("/sbin/mount.fuse.hubfs"))
"""Where mount(8) looks, for the types hubfs and fuse.hubfs."""

_OURS = (b"hubfs", b"fuse.hubfs")
_PATHS = ("cache_dir", "catalog", "config", "log_file")
_ALWAYS = ("_netdev", "nofail")
"""After the network; and a machine starts without it."""

_ESCAPED = {" ": "\\040", "\t": "\\011", "\n": "\\012", "\\": "\\134", "#": "\\043"}
_FIELDS = 3
_MODE = 0o644


@contextlib.contextmanager
def kept(mountpoint: Path, flags: Mapping[str, Any]) -> Iterator[None]:
    """Has the file say what is mounted meanwhile, with these flags, and mount(8) find `mount.hubfs`.

    Raises `MountFailed` beforehand if that cannot be.
    """
    new = _line(mountpoint, flags)
    _update(new, dry=True)
    yield
    _update(new)
    if complaint := _install_helper():
        click.echo(f"hubfs: WARNING: {printable(complaint)}", err=True)


def _file() -> Path:
    """The file that mount(8) reads."""
    return Path(os.environ.get("LIBMOUNT_FSTAB") or "/etc/fstab")


def _line(mountpoint: Path, flags: Mapping[str, Any]) -> bytes:
    """The line for `hubfs mount MOUNTPOINT` with these flags. Raises `MountFailed` for what a line cannot say."""
    options = [text for name, value in sorted(flags.items()) if name != "hub" for text in _options(name, value)]
    spec = " ".join(flags.get("hub") or ()) or CONFIGURED
    for text in (*options, *spec.split()):
        url = text.partition("=")[2] or text
        if is_url(url) and without_secrets(url) != url:
            raise MountFailed("--update-fstab: everybody may read fstab: say a URL with credentials in a config file")
    fields = (spec, str(mountpoint), "hubfs", ",".join(dict.fromkeys((*options, *_ALWAYS))), "0", "0")
    return os.fsencode(" ".join("".join(_ESCAPED.get(one, one) for one in field) for field in fields) + "\n")


def _options(name: str, value: object) -> list[str]:
    if value is None or value == ():
        return []
    if name in SECRET:
        raise MountFailed(f"--update-fstab: everybody may read fstab: say {name} in a config file")
    if name == "mount_options" and isinstance(value, tuple):
        return [option for text in value for option in text.split(",")]
    if isinstance(value, bool):
        return [name if value else f"no_{name}"]
    text = str(Path(str(value)).absolute()) if name in _PATHS and not is_url(value) else str(value)
    if {",", '"'} & {*text}:
        raise MountFailed(f"--update-fstab: the value of --{name.replace('_', '-')} has a comma or a quotation mark")
    return [f"{name}={text}"]


def updated(text: bytes, new: bytes) -> bytes:
    """The file with this line in the place of the one for its mount point, or at the end. Nothing else is changed.

    Raises `MountFailed` if something else is mounted there.
    """
    lines, directory, found = text.splitlines(keepends=True), new.split()[1], False
    for number, old in enumerate(lines):
        fields = old.split()
        if len(fields) < _FIELDS or fields[0].startswith(b"#") or (fields[1].rstrip(b"/") or b"/") != directory:
            continue
        if fields[2] not in _OURS:
            raise MountFailed(
                f"{_file()} has another line for {os.fsdecode(directory)}, of type {os.fsdecode(fields[2])} (line "
                f"{number + 1}): take that out first"
            )
        lines[number] = b"" if found else new
        found = True
    if not found:
        if lines and not lines[-1].endswith(b"\n"):
            lines.append(b"\n")
        lines.append(new)
    return b"".join(lines)


def _update(new: bytes, *, dry: bool = False) -> None:
    """Has the file say this line; `dry`: looks whether that can be. Raises `MountFailed`."""
    path = _file().resolve()
    try:
        before = path.read_bytes() if path.exists() else b""
        after = updated(before, new)
        if before == after:
            return
        if dry:
            path.parent.stat()
            if not os.access(path.parent, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            return
        _replace(path, after)
    except OSError as error:
        raise MountFailed(
            f"{path} cannot be written ({error.strerror}); its line would be: {os.fsdecode(new)}"
        ) from None


def _replace(path: Path, content: bytes) -> None:
    """A reader of the file has the old content or the new one, as a whole, also after a power cut."""
    descriptor, name = tempfile.mkstemp(prefix=".fstab-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as written:
            written.write(content)
            os.fchmod(descriptor, _MODE)
            with contextlib.suppress(FileNotFoundError):
                before = path.stat()
                os.fchown(descriptor, before.st_uid, before.st_gid)
                os.fchmod(descriptor, stat.S_IMODE(before.st_mode))
            written.flush()
            os.fsync(descriptor)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink()
        raise


def _install_helper() -> str | None:
    """Has mount(8) find `mount.hubfs`, unless it does; what is to be said if that cannot be."""
    script = Path(sys.argv[0]).absolute().with_name("mount.hubfs")
    for helper in _HELPERS:
        if helper.exists():
            continue
        if not script.is_file():
            return f"mount(8) will not find {helper}: there is no {script} to link it to"
        try:
            helper.unlink(missing_ok=True)  # it leads nowhere
            helper.symlink_to(script)
        except OSError as error:
            return f"mount(8) will not find {helper}: it cannot be made ({error.strerror})"
    return None
