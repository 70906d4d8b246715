"""A site: machines with a network each, and one where the servers are, joined by a switch: all of it this machine."""

import ctypes
import os
import subprocess
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

_CLONE_NEWNET = 0x40000000
SERVERS = "10.77.0.1"

T = TypeVar("T")


@dataclass(frozen=True)
class Site:
    """`name` is the namespace of the servers; machine `number` has `name`-number, and reaches `SERVERS` alone."""

    name: str

    def wrapper(self, number: int) -> tuple[str, ...]:
        """What runs a program on this machine, in the mount namespace of the tests."""
        return ("nsenter", f"--net={_path(f'{self.name}-{number}')}", "--")

    def at_servers(self, body: Callable[[], T]) -> T:
        """What `body` returns, called in a thread whose sockets, threads and programs are where the servers are."""
        answers: list[T] = []
        errors: list[BaseException] = []

        def run() -> None:
            try:
                libc = ctypes.CDLL(None, use_errno=True)
                with _path(self.name).open("rb") as namespace:
                    if libc.setns(namespace.fileno(), _CLONE_NEWNET):  # of this thread alone
                        number = ctypes.get_errno()
                        raise OSError(number, os.strerror(number))  # noqa: TRY301 - one place hands errors on
                answers.append(body())
            except BaseException as error:  # noqa: BLE001 - raised again below
                errors.append(error)

        thread = threading.Thread(target=run, name="servers")
        thread.start()
        thread.join()
        if errors:
            raise errors[0]
        return answers[0]


@contextmanager
def site(machines: int) -> Iterator[Site]:
    """Makes the networks, and takes them away. Fails, and says why, where that is not possible."""
    name = f"hubfs-{uuid.uuid4().hex[:8]}"
    names = [name, *(f"{name}-{number}" for number in range(machines))]
    try:
        for each in names:
            _ip([f"netns add {each}"])
        _ip(
            [
                "link set lo up",
                "link add switch type bridge",
                f"addr add {SERVERS}/24 dev switch",
                "link set switch up",
            ],
            name,
        )
        for number in range(machines):
            there = f"{name}-{number}"
            _ip(
                [
                    f"link add port{number} type veth peer name eth0 netns {there}",
                    f"link set port{number} master switch",
                    f"link set port{number} up",
                ],
                name,
            )
            _ip(["link set lo up", f"addr add 10.77.0.{10 + number}/24 dev eth0", "link set eth0 up"], there)
        yield Site(name)
    finally:
        for each in names:
            if _path(each).exists():
                subprocess.run(["ip", "netns", "del", each], check=True, timeout=60)


def _ip(commands: Sequence[str], namespace: str | None = None) -> None:
    where = ["-n", namespace] if namespace else []
    done = subprocess.run(
        ["ip", *where, "-batch", "-"],
        input="\n".join(commands),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, (
        "This test needs network namespaces with veth and a bridge: run it as root, in a container with CAP_SYS_ADMIN "
        f"and CAP_NET_ADMIN. ip says: {done.stderr.strip()}"
    )


def _path(namespace: str) -> Path:
    return Path("/run/netns", namespace)
