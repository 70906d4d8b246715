"""What a supervisor does after its daemon died: how long it waits, and whether another daemon takes the mount over."""

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from hubfs.daemon.keeper import HANDED_OVER

FIRST_DELAY_S = 0.1
LONGEST_DELAY_S = 30.0
HEALTHY_S = 60.0

MOST_FAILURES = 5
"""After so many successors that failed in a row there is none: one of the requests that wait may be what kills them.
Who waits gets an error then, and the hub is mounted anew."""

_AT_ONCE = 2
"""So many successors are not waited for."""

_TOOK_ITS_TIME = 2
"""A daemon that hung counts for so many failures: its readers have waited long already."""

_LONGEST_STEP_S = 2.0


@dataclass(frozen=True)
class Death:
    """A daemon's end otherwise than by an unmount or a signal that asks for it.

    `status`: as subprocess has it. `lived_s`: since its start. `answered_s`: how long its mount was known to answer;
    None if it never did. `hung`: whether it was killed because it did not answer any more.
    """

    status: int
    lived_s: float
    answered_s: float | None = None
    hung: bool = False


@dataclass(frozen=True)
class Row:
    """What went wrong in a row: mounts that died, and failures of daemons that could be followed."""

    mounts: int = 0
    failures: int = 0


@dataclass(frozen=True)
class Plan:
    """What is next: after `delay_s` a daemon that takes the mount over, or one that mounts anew."""

    delay_s: float
    takes_over: bool


def after(row: Row, death: Death, *, held: bool) -> tuple[Row, Plan]:
    """What is next, and the row with this death in it. `held`: whether a successor can have what the dead one had."""
    if held:
        failures = 0 if _is_blameless(death) else row.failures + (_TOOK_ITS_TIME if death.hung else 1)
        if failures <= MOST_FAILURES:
            return replace(row, failures=failures), Plan(successor_delay_s(failures), takes_over=True)
    mounts = 1 if death.lived_s >= HEALTHY_S else row.mounts + 1
    return Row(mounts), Plan(delay_s(mounts), takes_over=False)


def _is_blameless(death: Death) -> bool:
    """Whether the daemon did well: it answered for a minute, or another process killed it (SIGKILL) or had it hand the
    mount over.
    """
    if death.answered_s is None:
        return False
    return death.answered_s >= HEALTHY_S or (death.status in (-signal.SIGKILL, HANDED_OVER) and not death.hung)


def delay_s(deaths: int) -> float:
    """How long to wait before the next mount, after so many deaths in a row (at least one)."""
    return float(min(LONGEST_DELAY_S, FIRST_DELAY_S * 2 ** min(deaths - 1, 32)))


def successor_delay_s(failures: int) -> float:
    """How long to wait before the next successor, after so many failures in a row."""
    return 0.0 if failures <= _AT_ONCE else delay_s(failures - _AT_ONCE)


class Patience:
    """How long something is waited for, by seconds in which the machine ran: `waited_s` is called about every second,
    and a step of more than two seconds counts as two. A machine that stands still makes nobody late.
    """

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self.renew()

    def renew(self) -> None:
        """Begins anew."""
        self._waited_s, self._at_s = 0.0, self._now_s()

    def waited_s(self) -> float:
        """How long it is since it began."""
        now_s = self._now_s()
        self._waited_s += min(now_s - self._at_s, _LONGEST_STEP_S)
        self._at_s = now_s
        return self._waited_s
