"""What can go wrong, named by what happened. `hubfs.fuse.errnos` alone turns these into errno values.

A message names the URL (without its query: signed URLs carry secrets there), the reason, and what the user
can do where there is something to do. It is one line of printable text of bounded length, however long
the hosts and names are that it quotes.
"""

import contextlib
import re
from collections.abc import Iterator
from typing import ClassVar

_QUOTED_CHARACTERS = 200
_MESSAGE_CHARACTERS = 2000

# A user and a password whose '@' is beyond the end: nothing would tell them from a host any more.
_CUT_AUTHORITY = re.compile(r"""://[^\s"'<>/?#]*\Z""")


def cut(text: str, characters: int) -> str:
    """The first `characters` of `text`, and how many there were; an address that ends within its host loses it."""
    if len(text) <= characters:
        return text
    return f"{_CUT_AUTHORITY.sub('://', text[:characters])}… ({len(text)} characters)"


def quoted(said: object, characters: int = _QUOTED_CHARACTERS) -> str:
    """What a host, a file or a user said, for messages: the start of it, printable. Every foreign text goes through."""
    return printable(cut(str(said), characters))


def printable(text: str, keep: str = "") -> str:
    """`text`, with what a terminal would obey, or a log take for lines of its own, escaped; but for `keep`."""
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() or one in keep else one.encode("unicode_escape").decode("ascii") for one in text
    )


def _one_line(text: str) -> str:
    lines = text.replace("\r", "\n").split("\n")
    return " ".join(filter(None, map(str.strip, lines))) if len(lines) > 1 else text


class HubfsError(Exception):
    """Base of every error that hubfs raises on purpose. `advice` is what the user can do.

    Errors are kept, shown and logged: of a message that quotes too much, only the start exists.
    """

    advice: ClassVar[str] = "this is a bug of hubfs: the log has a traceback to report"

    def __init__(self, message: str = "") -> None:
        super().__init__(cut(message, _MESSAGE_CHARACTERS))

    def about(self, subject: str) -> None:
        """Has the message begin with `subject`, which the place that raised the error did not know; once."""
        if not str(self).startswith(subject):
            self.args = (cut(f"{subject}: {self}", _MESSAGE_CHARACTERS),)

    def __str__(self) -> str:
        return printable(_one_line(super().__str__()))


class Ordinary(HubfsError):
    """Base of errors that are answers, and no troubles: they happen on good days, too, and no warning is logged."""


class InvalidHandle(HubfsError):
    """The text is not a handle that any hub could have."""


class InvalidConfig(HubfsError):
    """An option, an environment variable or the config file holds a value that cannot be used."""


class MountFailed(HubfsError):
    """The mount point cannot be used, or libfuse refused."""


class NotInstalled(HubfsError):
    """A package that not every mount needs is missing."""


@contextlib.contextmanager
def needing(package: str, what: str, install: str = "") -> Iterator[None]:
    """For the imports of `package`, which `what` needs. Raises `NotInstalled` where it is not there.

    `install` is what pip installs, if that is not the package.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "hubfs":
            raise
        missing = "" if error.name == package else f" ({error.name} is missing)"
        how = f"pip install {install or package}"
        raise NotInstalled(f"{what} needs {package}, which is not installed{missing}: {how}") from error


class NotFound(Ordinary):
    """Base: the name does not exist."""


class ModelNotFound(NotFound):
    """The hub says that it has no such model."""


class EntryNotFound(NotFound):
    """The model has no entry of that path."""


class NameTooLong(Ordinary):
    """The name does not exist, and is longer than names can be."""


class NotADirectory(Ordinary):
    """A directory was asked for; the entry is something else."""


class IsADirectory(Ordinary):
    """A file was asked for; the entry is a directory."""


class NotASymlink(Ordinary):
    """A symlink was asked for; the entry is something else."""


class NoSuchAttribute(Ordinary):
    """The entry has no extended attribute of that name."""


class NoAttributes(Ordinary):
    """No file has extended attributes of this name space."""


class ReadOnly(Ordinary):
    """Somebody tried to write."""


class AccessDenied(HubfsError):
    """The hub or the store says 401 or 403, also after one re-resolve."""

    advice = (
        "give credentials that the host accepts: HUBFS_TOKEN or HUBFS_HEADERS for a hub, HUBFS_GCS_TOKEN for a bucket"
    )


class Untrusted(AccessDenied):
    """A file of this machine that is not the mounting user's or root's alone: anybody could have put it there."""

    advice = (
        "make it the mounting user's (chown) and writable to nobody else (chmod go-w) if you trust it; delete it if not"
    )


class TimedOut(HubfsError):
    """A connection, a reply or a transfer stalled for longer than its bound."""

    advice = "it is asked for again by the next read; `hubfs doctor` says what the network is like"


class Unavailable(HubfsError):
    """The host was not found, refused, could not be reached, or keeps answering with a server error."""

    advice = "it is asked for again by the next read; `hubfs doctor` says what stands in the way"


class NotCached(Unavailable):
    """It is not in the cache, and nobody is asked for it (`--offline`)."""

    advice = "it is fetched by a mount without --offline, and there from then on"


class Damaged(HubfsError):
    """The bytes are not what they must be: truncated, corrupt, hostile, or HTML instead of bytes."""

    advice = "it is fetched anew half a minute later; if it stays so, report it to the operator of the hub"


class Stale(HubfsError):
    """The origin changed under an open file."""

    advice = "open the file again: half a minute later the model is what the origin has now"


class Cancelled(Ordinary):
    """The mount is going away; a wait or a transfer was given up for that."""
