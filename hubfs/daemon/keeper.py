"""The keeper of a daemon: who starts it again when it dies, and holds what it needs to go on, in the meantime.

systemd is one (`Type=notify`, and its descriptor store), our supervisor is the other. Both are spoken to as
sd_notify(3) has it: datagrams of `NAME=VALUE` lines, descriptors beside them. systemd hands descriptors to a process
that it starts as sd_listen_fds(3) has it; a process that our supervisor starts is born with them.
"""

import contextlib
import json
import os
import select
import socket
import time
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field

from hubfs.errors import printable

READY, WATCHDOG, STOPPING = "READY=1", "WATCHDOG=1", "STOPPING=1"
"""The mount answers; it has just been seen to answer still; it is about to be taken off."""

_FAILED = "ERRNO=5"
"""Beside a STATUS= that says why a daemon fails. systemd shows the number (EIO) as well."""

HANDED_OVER = os.EX_TEMPFAIL
"""The exit status of a daemon that ended for a successor: its mount is still there, and waits."""

_FIRST_LISTENED = 3
"""SD_LISTEN_FDS_START."""
_HELD = "HUBFS_HELD"
"""Descriptors by name (JSON), in the environment of a program that takes the place of a daemon in its process."""
_LONGEST_BYTES = 1 << 16
_MOST_DESCRIPTORS = 16
_PATIENCE_S = 2.0
"""Who does not take a message within so long is not there."""


@dataclass(frozen=True)
class Served:
    """A mount that a daemon serves, and that another one can serve on: its connection to the kernel (a descriptor of
    /dev/fuse), the memory where its nodes are (a memfd), and the `st_dev` of its files.
    """

    connection: int
    nodes: int
    device: int

    @property
    def by_name(self) -> Mapping[str, int]:
        """The descriptors by the names that a keeper has for them."""
        return {f"{_CONNECTION}{self.device}": self.connection, f"{_NODES}{self.device}": self.nodes}

    def is_over(self) -> bool:
        """Whether the kernel has given the mount up: it was taken off, and nothing of it is open, or it was aborted."""
        asking = select.poll()
        asking.register(self.connection, 0)
        return bool(asking.poll(0))


_CONNECTION, _NODES = "hubfs-connection-", "hubfs-nodes-"
"""Names of descriptors; the mount's device follows."""


def served_in(held: Mapping[str, int]) -> Served | None:
    """The mount that somebody held the descriptors of; None if one of them is missing."""
    for name, connection in held.items():
        device = name.removeprefix(_CONNECTION)
        nodes = held.get(f"{_NODES}{device}")
        if name != device and device.isdecimal() and nodes is not None:
            return Served(connection, nodes, int(device))
    return None


class Keeper:
    """The keeper, as its daemon sees it. May be told things by several threads at once.

    `watchdog_s`: how often it must hear of a daemon that is well; None if it does not care. `named_by`: the variables
    that name the keeper, for a program that takes the daemon's place.
    """

    def __init__(
        self,
        channel: socket.socket | None,
        watchdog_s: float | None = None,
        named_by: Mapping[str, str] | None = None,
    ) -> None:
        self._channel = channel
        self.watchdog_s = watchdog_s
        self.named_by = named_by or {}
        if channel is not None:
            channel.settimeout(_PATIENCE_S)

    def __bool__(self) -> bool:
        """Whether there is one."""
        return self._channel is not None

    def close(self) -> None:
        """Speaks to it no more."""
        if self._channel is not None:
            self._channel.close()

    def tell(self, state: str, descriptors: Sequence[int] = ()) -> None:
        """Tells it; nothing happens where nobody listens any more."""
        if self._channel is not None:
            with contextlib.suppress(OSError):
                socket.send_fds(self._channel, [state.encode()], descriptors)

    def say(self, text: str) -> None:
        """Has it show how things stand, in a line."""
        self.tell(f"STATUS={printable(text)}")

    def complain(self, why: str) -> None:
        """Has it show why the daemon fails, in a line."""
        self.tell(f"STATUS={printable(' '.join(why.split()))}\n{_FAILED}")

    def reloading(self) -> None:
        """Tells it that the mount is served anew from here on, until it hears `READY`."""
        self.tell(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def keep(self, served: Served) -> None:
        """Has it hold copies of the mount's descriptors for a successor."""
        for name, descriptor in served.by_name.items():
            self.tell(f"FDSTORE=1\nFDNAME={name}", [descriptor])

    def drop(self, names: Iterable[str]) -> None:
        """Has it close what it holds by these names."""
        for name in names:
            self.tell(f"FDSTOREREMOVE=1\nFDNAME={name}")


@dataclass(frozen=True)
class Birth:
    """What a daemon is born with: its keeper, what that held for it by name, and how many daemons it started before
    (None: it does not start daemons again).
    """

    keeper: Keeper = field(default_factory=lambda: Keeper(None))
    held: Mapping[str, int] = field(default_factory=dict)
    restarts: int | None = None

    @property
    def is_service(self) -> bool:
        """Whether a service manager started the daemon, and not our supervisor."""
        return bool(self.keeper.named_by)


def service_manager(environment: MutableMapping[str, str]) -> Keeper:
    """The service manager that `environment` names, from where it is taken: no child is to speak to it."""
    names = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
    named_by = {name: environment.pop(name) for name in names if name in environment}
    address, watchdog_us = named_by.get("NOTIFY_SOCKET", ""), named_by.get("WATCHDOG_USEC", "")
    meant = named_by.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    if not address:
        return Keeper(None)
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        channel.connect(f"\0{address[1:]}" if address.startswith("@") else address)
    except OSError:
        channel.close()
        return Keeper(None)
    return Keeper(channel, int(watchdog_us) / 1e6 if meant and watchdog_us.isdecimal() else None, named_by)


def inherited(environment: MutableMapping[str, str], first: int = _FIRST_LISTENED) -> dict[str, int]:
    """The descriptors that a service manager has kept for this process, or that the daemon before it in this process
    has left, by name. They are closed in its children.

    `environment` names them, and loses them; `first` is the number of the first that a service manager gives.
    """
    if left := environment.pop(_HELD, ""):
        return _closed_in_children({str(name): int(number) for name, number in json.loads(left).items()})
    count, names = environment.pop("LISTEN_FDS", ""), environment.pop("LISTEN_FDNAMES", "").split(":")
    if environment.pop("LISTEN_PID", "") != str(os.getpid()) or not count.isdecimal():
        return {}
    return _closed_in_children(dict(zip(names, range(first, first + int(count)), strict=False)))


def _closed_in_children(held: Mapping[str, int]) -> dict[str, int]:
    """Those that are open; a shell in between may have closed some."""
    found = {}
    for name, descriptor in held.items():
        with contextlib.suppress(OSError):
            os.set_inheritable(descriptor, False)
            found[name] = descriptor
    return found


def left_for(keeper: Keeper, served: Served) -> dict[str, str]:
    """The environment in which a program takes the daemon's place in its process, and goes on with its descriptors."""
    for descriptor in served.by_name.values():
        os.set_inheritable(descriptor, True)
    return {**keeper.named_by, _HELD: json.dumps(served.by_name)}


def channel_to_child(watchdog_s: float | None) -> tuple[socket.socket, Keeper]:
    """The two ends between a keeper and the daemon that it starts: nobody else can reach them.

    The keeper's end is at its end when every process that has the daemon's is gone.
    """
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return ours, Keeper(its, watchdog_s)


def heard(channel: socket.socket) -> tuple[Mapping[str, str], list[int]] | None:
    """The next message of a daemon, and the descriptors beside it, which are the caller's; None if it is gone."""
    try:
        text, descriptors, _, _ = socket.recv_fds(channel, _LONGEST_BYTES, _MOST_DESCRIPTORS)
    except ConnectionResetError:
        return None
    for descriptor in descriptors:  # CPython forgets the flags of `recv_fds`
        os.set_inheritable(descriptor, False)
    if not text:
        return None
    lines = (line.partition("=") for line in text.decode(errors="replace").split("\n"))
    return {name: value for name, _, value in lines}, descriptors


def complaint_in(said: Mapping[str, str]) -> str | None:
    """Why the daemon that said this fails; None if that is not what it said."""
    return said.get("STATUS") if "ERRNO" in said else None
