"""Fetches what the cache lacks of a file, and has it verified, so that its next opener has it whole."""

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from hubfs.blobs.blob import Prefetchable
from hubfs.cache.block_cache import Release
from hubfs.errors import Cancelled, HubfsError
from hubfs.waiting import Cancellation

_log = logging.getLogger(__name__)

_TICK_S = 0.25
"""How often a completion that waits for room, or for the last blocks, looks again: readers come first."""

_IN_VAIN_S = 30.0
"""A completion without progress for so long ends: the disk does not keep what comes, or readers need all the memory."""

_MOST = 64
"""So many files stand in line at most. The next reader of one that finds no place tries again."""


@dataclass(frozen=True)
class Completion:
    """A file to complete: what fetches it, how it is known to be whole, and the end of the hold on its model.

    `settle` has the disk keep the blocks that came while it kept nothing, and that memory still has.
    """

    blob: Prefetchable
    is_whole: Callable[[], bool]
    settle: Callable[[], None]
    release: Release


class Completer:
    """Completes files one after the other, as far as the memory budget allows, and never fails anybody.

    A thread runs while there is something to do, and ends on `cancellation`. `_lock` guards `_line` and `_running`;
    nothing is asked under it.
    """

    def __init__(self, cancellation: Cancellation, *, timer: Callable[[], float] = time.monotonic) -> None:
        self.is_wanted = False
        """Whether anybody ever asked for a whole file. Where nobody does, it makes no difference which ones are."""

        self._cancellation = cancellation
        self._timer = timer
        self._lock = threading.Lock()
        self._line: deque[Completion] = deque()
        self._running = False

    def file(
        self,
        blob: Prefetchable,
        backing: Callable[[float], int | None],
        settle: Callable[[], None],
        hold: Callable[[], Release],
    ) -> None:
        """The file of `blob` is completed and verified, unless it is whole, or nobody asks which files are.

        `backing` gives a descriptor of the whole file, if there is one, and waits at most so many seconds to know.
        `settle` as of a `Completion`.
        """

        def is_whole() -> bool:
            fd = backing(0.0)
            if fd is not None:
                os.close(fd)
            return fd is not None

        if self.is_wanted:
            self.complete(Completion(blob, is_whole, settle, hold()))

    def complete(self, completion: Completion) -> None:
        """Begins, or stands in line; returns at once. The hold ends with it, also after an error."""
        with self._lock:
            full = len(self._line) >= _MOST
            begin = not full and not self._running
            if not full:
                self._line.append(completion)
                self._running = True
        if full:
            completion.release()
        elif begin:
            self._begin()

    def _begin(self) -> None:
        try:
            threading.Thread(target=self._run, name="complete", daemon=True).start()
        except RuntimeError as error:  # no thread is left: the next reader tries again
            _log.debug("No file is completed just now: %s", error)
            with self._lock:
                left, self._line, self._running = [*self._line], deque(), False
            for completion in left:
                completion.release()

    def _run(self) -> None:
        while (completion := self._next()) is not None:
            self._try(completion)
            completion.release()

    def _try(self, completion: Completion) -> None:
        try:
            self._carry_out(completion)
        except Cancelled:
            pass  # as the others that stand in line will be
        except HubfsError as error:
            _log.debug("%s is not completed: %s", completion.blob.key, error)
        except Exception:  # noqa: BLE001 - after any error the other files go on
            _log.exception("%s is not completed", completion.blob.key)

    def _next(self) -> Completion | None:
        with self._lock:
            if self._line:
                return self._line.popleft()
            self._running = False
            return None

    def _carry_out(self, completion: Completion) -> None:
        """Asks for everything, and waits until it came and is on disk. Raises `Cancelled`."""
        blob, reached_bytes, since_s = completion.blob, 0, self._timer()
        while not completion.is_whole() and self._timer() - since_s < _IN_VAIN_S:
            self._cancellation.check()
            if reached_bytes < blob.size_bytes:
                before_bytes = reached_bytes
                reached_bytes = blob.prefetch(before_bytes, blob.size_bytes - before_bytes)
                if reached_bytes > before_bytes:
                    since_s = self._timer()
            else:
                completion.settle()
            self._cancellation.sleep(_TICK_S)
