"""The sign of life that a daemon gives its keeper."""

import threading
import time
from collections.abc import Callable

from hubfs.daemon.keeper import WATCHDOG, Keeper
from hubfs.mounts import table as mount_table

_ASKED_AS_OFTEN = 4
"""The mount is asked so often in the time after which the keeper takes its daemon for stuck."""


class Pulse(threading.Thread):
    """Tells the keeper now and then that the mount answers, as long as it does; nothing to a keeper that asks nothing.

    Another process asks the mount: a daemon that waited for its own answer could not be killed. That process has no
    answer in time where every thread waits for a slow hub. One request after another is handled there: `handled` counts
    them, and has changed since the last look.
    """

    def __init__(self, keeper: Keeper, device: int | None, handled: Callable[[], int]) -> None:
        super().__init__(name="pulse", daemon=True)
        self._keeper = keeper
        self._device = device
        self._handled = handled

    def run(self) -> None:
        """Until the process ends; returns at once where the keeper asks nothing."""
        every_s = (self._keeper.watchdog_s or 0) / _ASKED_AS_OFTEN
        before = 0
        while every_s and self._device is not None:
            where = mount_table.where_is(self._device)  # nowhere: it was taken off, and is still in use
            answer = None if where is None else mount_table.look(where, "")
            handled = self._handled()
            if answer is None or not (answer.is_late or answer.is_dead) or handled != before:
                self._keeper.tell(WATCHDOG)
            before = handled
            time.sleep(every_s)
