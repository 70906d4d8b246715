"""Watches the locks of hubfs while a test runs: who takes which one while holding which, and what is done under one.

    with watching_locks(seed) as watch:
        ...                     # what is made in here has watched locks
    assert not watch.faults()

A cycle in the order of locks is a deadlock that has not happened yet; so is a wait or a request under a lock. Locks are
told apart by class and field, as in Linux's lockdep: two instances of one field that are held at once are a fault, too.
Each time that a lock is taken the thread may lose its turn, so that threads meet in places where they rarely do.
"""

import functools
import linecache
import logging
import os
import random
import re
import socket
import sys
import threading
import time
import traceback
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

_REAL_LOCK, _REAL_RLOCK, _REAL_CONDITION = threading.Lock, threading.RLock, threading.Condition

_CALLS: dict[Any, tuple[str, ...]] = {
    os: ("read", "pread", "preadv", "write", "pwrite", "fsync", "fdatasync", "replace"),
    socket.socket: ("connect", "recv", "recv_into", "send", "sendall"),
    time: ("sleep",),
    logging.Logger: ("handle",),  # the log is a file
}
_AUDITED = re.compile(
    r"open$|os\.(rename|remove|mkdir|rmdir|listdir|scandir|utime)|socket\.|subprocess\.|fcntl\.|shutil\."
)


class _OfThread(threading.local):
    """`held`: what the thread holds, in the order in which it was taken; `looking`: it writes down where it is."""

    def __init__(self) -> None:
        self.held: list[WatchedLock] = []
        self.looking = False


class Watch:
    """What was seen. `_guard` guards `_edges` and `_faults`, and is taken last."""

    def __init__(self, seed: int, package: str = "hubfs") -> None:
        self.package = package
        self.acquisitions = 0
        self._chance = random.Random(seed)
        self._guard = _REAL_LOCK()
        self._edges: dict[tuple[str, str], str] = {}
        self._faults: dict[str, str] = {}
        self._thread = _OfThread()

    @property
    def orders(self) -> list[tuple[str, str]]:
        """Which lock was taken while which one was held: (held, taken)."""
        with self._guard:
            return sorted(self._edges)

    def faults(self) -> list[str]:
        """What is wrong, with where it was done first."""
        with self._guard:
            cycles = [
                f"locks are taken in a circle: {' → '.join((*circle, circle[0]))}\n"
                + "\n".join(self._edges[edge] for edge in zip(circle, (*circle[1:], circle[0]), strict=True))
                for circle in circles(self._edges)
            ]
            return [*cycles, *(f"{what}\n{where}" for what, where in self._faults.items())]

    def held(self) -> "list[WatchedLock]":
        """What this thread holds."""
        return self._thread.held

    def wants(self, lock: "WatchedLock") -> None:
        """Before a lock is waited for."""
        self.acquisitions += 1
        for held in self.held():
            if held is not lock and (held.name, lock.name) not in self._edges:
                where = self._where()
                with self._guard:
                    self._edges.setdefault((held.name, lock.name), where)
        chance = self._chance.random()
        if chance < 0.02:
            _SLEEP(chance / 20)  # up to a millisecond
        elif chance < 0.2:
            _SLEEP(0)

    def does(self, what: str, besides: object = None) -> None:
        """Before something that may take long. A lock that nobody ever waits for does not count."""
        held = self.held()
        if not held or self._thread.looking:
            return
        names = [lock.name for lock in held if lock is not besides and not lock.tried]
        if names and not _starts_a_thread():
            fault = f"{what} under {', '.join(names)}"
            if fault not in self._faults:
                where = self._where()
                with self._guard:
                    self._faults.setdefault(fault, where)

    @contextmanager
    def looking(self) -> Iterator[None]:
        """The watch itself reads files meanwhile: those of the program."""
        self._thread.looking = True
        try:
            yield
        finally:
            self._thread.looking = False

    def _where(self) -> str:
        with self.looking():
            frames = traceback.extract_stack(sys._getframe(2))
        return "".join(traceback.format_list([frame for frame in frames if frame.filename != __file__][-12:]))


class WatchedLock:
    """A Lock, or an RLock that a Condition can wait with."""

    def __init__(self, watch: Watch, name: str, real: Any) -> None:
        self.name = name
        self.tried = False
        self._watch = watch
        self._real = real
        self._owner: int | None = None
        self._depth = 0

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:  # noqa: FBT001, FBT002 - as Lock's
        again = self._owner == threading.get_ident() and isinstance(self._real, type(_REAL_RLOCK()))
        if blocking and not again:
            self._watch.wants(self)
        taken = bool(self._real.acquire(blocking, timeout))
        if taken:
            self._owner = threading.get_ident()
            self._depth += 1
            if self._depth == 1:
                self.tried = not blocking
                self._watch.held().append(self)
        return taken

    def release(self) -> None:
        self._depth -= 1
        if not self._depth:
            self._owner = None
            self._forget()
        self._real.release()

    def _forget(self) -> None:
        held = self._watch.held()
        if self in held:  # a Lock may be released by another thread
            held.remove(self)

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()

    def locked(self) -> bool:
        return bool(self._real.locked())

    # What Condition needs of an RLock.

    def _is_owned(self) -> bool:
        return self._owner == threading.get_ident()

    def _release_save(self) -> int:
        depth, self._depth, self._owner = self._depth, 0, None
        self._forget()
        for _ in range(depth):
            self._real.release()
        return depth

    def _acquire_restore(self, depth: int) -> None:
        self._watch.wants(self)
        for _ in range(depth):
            self._real.acquire()
        self._depth, self._owner = depth, threading.get_ident()
        self._watch.held().append(self)


def circles(edges: Any) -> list[tuple[str, ...]]:
    """The circles of a graph, each once; not all that share edges, but at least one of every knot."""
    following: dict[str, set[str]] = defaultdict(set)
    for held, taken in edges:
        following[held].add(taken)
    found: dict[frozenset[str], tuple[str, ...]] = {}
    done: set[str] = set()

    def follow(path: tuple[str, ...]) -> None:
        for name in sorted(following[path[-1]]):
            if name in path:
                circle = path[path.index(name) :]
                found.setdefault(frozenset(circle), circle)
            elif name not in done:
                follow((*path, name))
        done.add(path[-1])

    for name in sorted(following):
        follow((name,))
    return list(found.values())


_SLEEP = time.sleep
_watch: Watch | None = None


def _audit(event: str, _arguments: object) -> None:
    if _watch is not None and _AUDITED.match(event):
        _watch.does(event)


_hooked: list[bool] = []


@contextmanager
def watching_locks(seed: int, package: str = "hubfs") -> Iterator[Watch]:
    """Locks that modules of `package` make meanwhile are watched."""
    global _watch  # noqa: PLW0603 - an audit hook cannot be taken away
    if not _hooked:
        _hooked.append(True)
        sys.addaudithook(_audit)
    watch = Watch(seed, package)
    patches = [
        mock.patch.object(threading, "Lock", functools.partial(_made, watch, _REAL_LOCK)),
        mock.patch.object(threading, "RLock", functools.partial(_made, watch, _REAL_RLOCK)),
        mock.patch.object(threading, "Condition", functools.partial(_condition, watch)),
        mock.patch.object(_REAL_CONDITION, "wait", _waiting(watch)),
        *(
            mock.patch.object(owner, name, _watched(watch, f"{owner.__name__}.{name}", getattr(owner, name)))
            for owner, names in _CALLS.items()
            for name in names
        ),
    ]
    with _all_of(patches):
        _watch = watch
        try:
            yield watch
        finally:
            _watch = None


@contextmanager
def _all_of(patches: list[Any]) -> Iterator[None]:
    started = []
    try:
        for patch in patches:
            patch.start()
            started.append(patch)
        yield
    finally:
        for patch in reversed(started):
            patch.stop()


def _made(watch: Watch, real: Callable[[], Any]) -> Any:
    name = _name_of_maker(watch)
    return real() if name is None else WatchedLock(watch, name, real())


def _condition(watch: Watch, lock: Any = None) -> Any:
    name = _name_of_maker(watch)
    return _REAL_CONDITION(WatchedLock(watch, name, _REAL_RLOCK()) if lock is None and name is not None else lock)


def _name_of_maker(watch: Watch) -> str | None:
    """`module.Class._lock`, of whoever makes a lock just now; None if that is nobody who is watched."""
    frame = sys._getframe(2)
    module = str(frame.f_globals.get("__name__"))
    if module.partition(".")[0] != watch.package:
        return None
    with watch.looking():
        line = linecache.getline(frame.f_code.co_filename, frame.f_lineno)
    target = line.partition("=")[0].strip().removeprefix("self.").partition(":")[0]
    owner = frame.f_locals.get("self")
    return f"{module}.{type(owner).__name__ if owner is not None else frame.f_code.co_name}.{target}"


def _waiting(watch: Watch) -> Callable[..., bool]:
    real = _REAL_CONDITION.wait

    def wait(self: threading.Condition, timeout: float | None = None) -> bool:
        watch.does("a wait", besides=getattr(self, "_lock", None))
        return real(self, timeout)

    return wait


def _watched(watch: Watch, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
    def call(*arguments: Any, **options: Any) -> Any:
        watch.does(name)
        return real(*arguments, **options)

    return call


def _starts_a_thread() -> bool:
    """Thread.start waits until the thread runs, and for nothing that a lock could keep from happening."""
    frame: Any = sys._getframe(2)
    while frame is not None:
        if frame.f_code is threading.Thread.start.__code__:
            return True
        frame = frame.f_back
    return False
