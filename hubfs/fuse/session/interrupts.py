"""Readers that were killed while they wait for a reply."""

import threading
from collections.abc import Callable, Mapping
from pathlib import Path

LOOKED_EVERY_S = 0.1

_SIGKILL = 9


def is_dying(thread_id: int, proc: Path = Path("/proc")) -> bool:
    """Whether a thread of any process is about to end, or has ended: nobody will use what it asked for.

    The kernel puts SIGKILL among the pending signals of each thread of a process that ends. A thread
    that cannot be seen from here (0: it is in another PID namespace) is not known to be dying.
    """
    if not thread_id:
        return False
    try:
        status = (proc / str(thread_id) / "status").read_bytes()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    pending = status.partition(b"\nSigPnd:")[2].split(maxsplit=1)
    return bool(pending) and bool(int(pending[0], 16) >> (_SIGKILL - 1) & 1)


class Interrupts:
    """Looks after requests whose readers got a signal, until they are answered; those of dying readers it `abandons`.

    Any signal interrupts a request once, and only a reader that dies does without the reply: read(2) of a file on a
    disk never ends with EINTR, and programs do not expect it to. `_lock` guards `_watched` and `_is_looking`.
    """

    def __init__(self, waiting: Mapping[int, int], abandon: Callable[[int], None]) -> None:
        """`waiting`: by the number of each request that is not answered yet, the thread that waits for the reply."""
        self._waiting = waiting
        self._abandon = abandon
        self._lock = threading.Lock()
        self._watched: set[int] = set()
        self._is_looking = False

    def watch(self, unique: int) -> None:
        """The request got an interrupt."""
        with self._lock:
            self._watched.add(unique)
            begin, self._is_looking = not self._is_looking, True
        if begin:
            threading.Thread(target=self._look, name="fuse-interrupts", daemon=True).start()

    def _look(self) -> None:
        pause = threading.Event()
        while True:
            with self._lock:
                self._watched = {unique for unique in self._watched if unique in self._waiting}
                watched = list(self._watched)
                if not watched:
                    self._is_looking = False
                    return
            for unique in watched:
                if is_dying(self._waiting.get(unique, 0)):
                    self._abandon(unique)
            pause.wait(LOOKED_EVERY_S)
