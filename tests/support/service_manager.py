"""systemd, as far as a mount's service has to do with it: it is told how things stand, and keeps descriptors."""

import contextlib
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tests.support.waiting import eventually

_STARTED_AS = 'export LISTEN_PID=$$; exec "$@"'
"""A shell that becomes the service: it knows the service's process id."""


class ServiceManager:
    """Runs one service (`Type=notify`, with a descriptor store), and hears what it says.

    `_lock` guards `said` and `stored`.
    """

    def __init__(self, address: Path, command: Sequence[str | Path], environment: Mapping[str, str]) -> None:
        self._command = command
        self._environment = {**environment, "NOTIFY_SOCKET": str(address)}
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(address))
        self._lock = threading.Lock()
        self.said: list[str] = []
        self.stored: dict[str, int] = {}
        self.process: subprocess.Popen[bytes] | None = None
        self._hears = threading.Thread(target=self._hear, name="service manager")
        self._hears.start()

    def _hear(self) -> None:
        while True:
            text, descriptors, _, _ = socket.recv_fds(self._socket, 1 << 16, 4)
            if not text:
                return
            lines = dict(line.partition("=")[::2] for line in text.decode().splitlines())
            with self._lock:
                self.said.append(text.decode())
                if {"FDSTORE", "FDSTOREREMOVE"} & lines.keys():
                    before = self.stored.pop(lines["FDNAME"], None)
                    if before is not None:
                        os.close(before)
                if "FDSTORE" in lines:
                    (self.stored[lines["FDNAME"]],) = descriptors

    def start(self, **environment: str) -> int:
        """Starts the service with what is stored; its process, once it is ready."""
        with self._lock:
            self.said.clear()
            stored = dict(self.stored)
        # The shell moves them to where systemd puts them, from numbers that are not among those.
        high = {name: os.dup2(fd, 200 + place, inheritable=True) for place, (name, fd) in enumerate(stored.items())}
        moves = " ".join(f"{3 + place}<&{number} {number}<&-" for place, number in enumerate(high.values()))
        store = {"LISTEN_FDS": str(len(stored)), "LISTEN_FDNAMES": ":".join(stored)} if stored else {}
        self.process = subprocess.Popen(
            ["bash", "-c", f"{_STARTED_AS} {moves}", "service", *self._command],
            env={**self._environment, **store, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[*high.values()],
        )
        for number in high.values():
            os.close(number)
        assert eventually(lambda: "READY=1" in self.said or self.process.poll() is not None)  # type: ignore[union-attr]
        assert self.process.poll() is None
        return self.process.pid

    def end(self, number: signal.Signals) -> int:
        """Ends the service by a signal; its status."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(60)

    def close(self) -> None:
        """Forgets what is stored, and ends."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(60)
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as telling:
            telling.sendto(b"", self._environment["NOTIFY_SOCKET"])
        self._hears.join(60)
        self._socket.close()
        for descriptor in self.stored.values():
            os.close(descriptor)


@contextlib.contextmanager
def service(address: Path, command: Sequence[str | Path], environment: Mapping[str, str]) -> Iterator[ServiceManager]:
    """A manager of one service, which was not started yet. In the end the service is killed, and nothing kept."""
    manager = ServiceManager(address, command, environment)
    try:
        yield manager
    finally:
        manager.close()
