"""Tells a person, a log or a program how a fetch goes."""

import json
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Any, TypeVar

import click

from hubfs.commands.fetch.progress import Meter, line
from hubfs.commands.units import duration, size

T = TypeVar("T")

_TERMINAL_S, _LOG_S, _JSON_S = 0.2, 5.0, 1.0
"""How often progress is told: to a terminal, to a log, to a program."""

_LOOK_S = 0.1


class Teller:
    """Tells of a fetch: a line that is written over on a terminal, lines elsewhere, objects in JSON, or nothing.

    Progress goes to stderr, and results to stdout; in JSON, both go to stdout. For one thread.
    """

    def __init__(self, *, quiet: bool, as_json: bool, terminal: bool) -> None:
        self._quiet, self._as_json, self._terminal = quiet, as_json, terminal and not as_json
        self._every_s = _JSON_S if as_json else _TERMINAL_S if terminal else _LOG_S
        self._told_s = time.monotonic()
        self._width = 0

    def during(self, what: str, flight: "Future[T]", meter: Callable[[], Meter | None]) -> T:
        """Tells of `meter` until the flight has landed; its result, or what it raised."""
        while not wait([flight], _LOOK_S).done:
            said = meter()
            if said is not None and time.monotonic() - self._told_s >= self._every_s:
                self._told_s = time.monotonic()
                self._progress(what, said)
        return flight.result()

    def _progress(self, what: str, meter: Meter) -> None:
        if self._as_json:
            self._json(
                event="progress",
                handle=what,
                done_bytes=meter.done_bytes,
                total_bytes=meter.total_bytes,
                rate_bytes_per_s=round(meter.rate_bytes_per_s),
                left_s=None if meter.left_s is None else round(meter.left_s, 1),
            )
        elif not self._quiet:
            text = line(what, meter)
            if self._terminal:
                self.end()
                self._width = len(text)
            click.echo(text, err=True, nl=not self._terminal)

    def checked(self, what: str, known: tuple[int, int] | None) -> None:
        """Tells how many bytes of a model are cached, and of how many; None where the cache knows nothing of it."""
        cached_bytes, size_bytes = known or (0, None)
        self.end()
        if self._as_json:
            self._json(event="checked", handle=what, cached_bytes=cached_bytes, size_bytes=size_bytes)
        elif not self._quiet:
            of_all = "nothing" if size_bytes is None else f"{size(cached_bytes)} of {size(size_bytes)}"
            click.echo(f"{what}: {of_all} is cached")

    def done(self, what: str, where: str, size_bytes: int, written_bytes: int, took_s: float) -> None:
        """Tells that a model is there."""
        self.end()
        if self._as_json:
            self._json(
                event="done",
                handle=what,
                path=where,
                size_bytes=size_bytes,
                written_bytes=written_bytes,
                took_s=round(took_s, 3),
            )
        elif not self._quiet:
            how = f"{size(size_bytes)}, {duration(took_s)}" if written_bytes else f"{size(size_bytes)}, was there"
            click.echo(f"{what}: {where} ({how})")

    def planned(self, what: str, where: str, size_bytes: int | None) -> None:
        """Tells where a model would go, and how large it is, as far as that is known."""
        self.end()
        if self._as_json:
            self._json(event="planned", handle=what, path=where, size_bytes=size_bytes)
        elif not self._quiet:
            click.echo(f"{what}: {where} ({'a size that nobody tells' if size_bytes is None else size(size_bytes)})")

    def failed(self, what: str, reason: str) -> None:
        """Tells why a model is not there, and that others follow."""
        self.end()
        if self._as_json:
            self._json(event="failed", handle=what, reason=reason)
        else:
            click.echo(f"hubfs: {what}: {' '.join(reason.split())}", err=True)

    def end(self) -> None:
        """Takes back the line that is being written over."""
        if self._width:
            click.echo(f"\r{' ' * self._width}\r", err=True, nl=False)
            self._width = 0

    @staticmethod
    def _json(**said: Any) -> None:
        click.echo(json.dumps(said))
