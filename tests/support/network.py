"""A network of one's own, with any address of the world on this machine; it ends with whoever is in it."""

import ctypes
import os
import subprocess
import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

_CLONE_NEWNET = 0x40000000

T = TypeVar("T")


def in_network_of(addresses: Sequence[str], body: Callable[[], T]) -> T:
    """What `body` returns, called in a thread whose sockets, threads and programs are in a network of these addresses.

    They are all this machine; there is nobody else. Raises `OSError` without the right to make one.
    """
    answers: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.unshare(_CLONE_NEWNET):  # of this thread alone
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number))  # noqa: TRY301 - one place hands errors on
            commands = ["link set lo up", *(f"addr add {address} dev lo" for address in addresses)]
            subprocess.run(["ip", "-batch", "-"], input="\n".join(commands), text=True, check=True, timeout=10)
            answers.append(body())
        except BaseException as error:  # noqa: BLE001 - raised again below
            errors.append(error)

    thread = threading.Thread(target=run, name="network")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return answers[0]
