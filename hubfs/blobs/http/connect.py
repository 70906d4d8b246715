"""Connections to hosts of several addresses, of which some may not answer."""

import os
import selectors
import socket
import time
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from errno import EINPROGRESS
from typing import Any, TypeVar, cast

import urllib3.exceptions
from urllib3.util.connection import allowed_gai_family

_STAGGER_S = 0.25  # as RFC 8305 has it

Options = Iterable[tuple[int, int, int | bytes]]

E = TypeVar("E")


def connect(host: str, port: int, timeout_s: float, options: Options = ()) -> socket.socket:
    """A connection to the first address of `host` that takes one, within `timeout_s` in all.

    urllib3 waits that long for each address, one after the other: a firewall that swallows everything held a
    reader of a store of sixteen addresses for 160 s an attempt, and a machine that only believes to have IPv6 paid its
    time-out for every connection. Raises `socket.gaierror`, `TimeoutError`, and any other `OSError`.
    """
    found = socket.getaddrinfo(host.strip("[]"), port, allowed_gai_family(), socket.SOCK_STREAM)
    left = deque(alternating([(int(family), address) for family, _, _, _, address in found]))
    until_s = time.monotonic() + timeout_s
    failure = OSError("the name has no address")
    with selectors.DefaultSelector() as racing, ExitStack() as losers:
        while left or racing.get_map():
            if left:
                try:
                    begun = losers.enter_context(_begun(*left.popleft(), options))
                except OSError as refused:
                    failure = refused
                    continue
                racing.register(begun, selectors.EVENT_WRITE)
            left_s = until_s - time.monotonic()
            if left_s <= 0:
                raise TimeoutError
            for key, _ in racing.select(min(left_s, _STAGGER_S) if left else left_s):
                racing.unregister(key.fileobj)
                ended = cast("socket.socket", key.fileobj)
                if not (code := ended.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)):
                    winner = socket.socket(fileno=ended.detach())  # the others are closed on the way out
                    winner.settimeout(timeout_s)
                    return winner
                failure = OSError(code, os.strerror(code))
    raise failure


def _begun(family: int, address: Any, options: Options) -> socket.socket:
    """A connection on its way. Raises `OSError`."""
    begun = socket.socket(family, socket.SOCK_STREAM)
    try:
        for option in options:
            begun.setsockopt(*option)
        begun.setblocking(False)
        code = begun.connect_ex(address)
        if code not in (0, EINPROGRESS):
            raise OSError(code, os.strerror(code))  # noqa: TRY301 - as what the lines above raise
    except BaseException:
        begun.close()
        raise
    return begun


def alternating(places: Sequence[tuple[int, E]]) -> list[tuple[int, E]]:
    """`places` in their order, but the families by turns: one of them may be broken."""
    so_far: Counter[int] = Counter()
    rounds = []
    for place in places:
        rounds.append(so_far[place[0]])
        so_far[place[0]] += 1
    return [place for _, place in sorted(zip(rounds, places, strict=True), key=lambda pair: pair[0])]


class Staggered:
    """Mixed into a connection of urllib3: connects by `connect`."""

    def _new_conn(self: Any) -> socket.socket:
        try:
            return connect(self._dns_host, self.port, self.timeout, self.socket_options or ())
        except socket.gaierror as error:
            raise urllib3.exceptions.NameResolutionError(self.host, self, error) from error
        except TimeoutError as error:
            raise urllib3.exceptions.ConnectTimeoutError(self, "no address answers") from error
        except OSError as error:
            raise urllib3.exceptions.NewConnectionError(self, str(error)) from error
