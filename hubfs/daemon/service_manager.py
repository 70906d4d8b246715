"""Telling a service manager (systemd's `Type=notify`) how things stand."""

import contextlib
import socket


def tell(address: str | None, state: str) -> None:
    """Sends `state`, such as `READY=1`, to the socket that `NOTIFY_SOCKET` names; without one, or with none there,
    nobody waits for it.
    """
    if not address:
        return
    name = f"\0{address[1:]}" if address.startswith("@") else address
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.connect(name)
        manager.send(state.encode())
