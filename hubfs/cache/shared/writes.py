"""What is written to the shared store behind the readers' backs."""

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from hubfs.errors import HubfsError
from hubfs.waiting import Cancellation

_log = logging.getLogger(__name__)

_TICK_S = 0.5


@dataclass(frozen=True, eq=False)
class _Job:
    model: str
    action: Callable[[], None]
    in_order: bool


class WriteBehind:
    """Runs jobs in a few threads of its own, which begin with the first job and end on cancel.

    `tick` is called about twice a second while a thread has nothing to do. `_condition` guards every field below it,
    and is held while no job runs.
    """

    def __init__(self, cancellation: Cancellation, *, threads: int, tick: Callable[[], None]) -> None:
        self._cancellation = cancellation
        self._threads = threads
        self._tick = tick
        self._condition = threading.Condition()
        self._begun = 0
        self._waiting: list[_Job] = []
        self._running: list[_Job] = []

    def submit(self, model: str, action: Callable[[], None], *, in_order: bool = False) -> None:
        """Has `action` run soon; with `in_order`, only once everything ended that was submitted for `model` before.

        A `HubfsError` of `action` is forgotten: an action that needs to know catches it itself.
        """
        with self._condition:
            self._begin()
            self._waiting.append(_Job(model, action, in_order))
            self._condition.notify_all()

    def flush(self, timeout_s: float, model: str | None = None) -> bool:
        """Waits until all ended that was submitted before (for `model`). False if it did not, in `timeout_s` seconds.

        Waits on while the mount goes away only as long as the threads do: cancel afterwards.
        """
        deadline_s = time.monotonic() + timeout_s
        with self._condition:
            jobs = {job for job in (*self._waiting, *self._running) if model in (None, job.model)}
            if jobs and not self._begun:
                self._begin()
                if not self._begun:
                    return False
            while not jobs.isdisjoint((*self._waiting, *self._running)):
                remaining_s = deadline_s - time.monotonic()
                if remaining_s <= 0 or self._cancellation.cancelled:
                    return False
                self._condition.wait(min(remaining_s, 0.25))
        return True

    def begin(self) -> None:
        """Sees to it that `tick` is called."""
        with self._condition:
            if not self._begun:
                self._begin()

    def _begin(self) -> None:
        """Begins one more thread, unless there are enough. Held: `_condition`."""
        if self._begun < self._threads and not self._cancellation.cancelled:
            with suppress(RuntimeError):  # no thread is left: the next job tries again
                threading.Thread(target=self._work, name="shared cache", daemon=True).start()
                self._begun += 1

    def _work(self) -> None:
        while not self._cancellation.cancelled:
            job = self._next()
            if job is None:
                self._tick()
                continue
            try:
                job.action()
            except HubfsError as error:
                _log.debug("Not written to the shared cache: %s", error)
            except Exception:  # noqa: BLE001 - the thread has other jobs to do
                _log.exception("Unexpected error while writing to the shared cache")
            finally:
                with self._condition:
                    self._running.remove(job)
                    self._condition.notify_all()

    def _next(self) -> _Job | None:
        """A job that may run now, which is then among `_running`; None if there is none for half a second."""
        with self._condition:
            job = self._eligible()
            if job is None:
                self._condition.wait(_TICK_S)
                job = self._eligible()
            if job is not None:
                self._waiting.remove(job)
                self._running.append(job)
            return job

    def _eligible(self) -> _Job | None:
        """Held: `_condition`."""
        busy = {job.model for job in self._running}
        for job in self._waiting:
            if not job.in_order or job.model not in busy:
                return job
            busy.add(job.model)
        return None
