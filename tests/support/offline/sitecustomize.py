"""Python runs this before a program: from then on no connection can be made, and each attempt is written down.

`HUBFS_TEST_ATTEMPTS` names the file that gets a line for each.
"""

import os
import socket
import sys
from pathlib import Path
from typing import Any


def refuse(event: str, arguments: tuple[Any, ...]) -> None:
    """An audit hook: nothing in Python gets around it, whichever library it is."""
    if event == "socket.connect" and arguments[0].family == socket.AF_UNIX:
        return  # to a process of this machine
    if event in ("socket.connect", "socket.getaddrinfo", "urllib.Request"):
        with Path(os.environ["HUBFS_TEST_ATTEMPTS"]).open("a", encoding="utf-8") as attempts:
            attempts.write(f"{event} {arguments[0] if event != 'socket.connect' else arguments[1]}\n")
        raise ConnectionError(f"{event}: this program is kept off the network")


sys.addaudithook(refuse)
