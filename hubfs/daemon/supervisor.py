"""A small process that starts the daemon, and starts it anew when it dies. It imports nothing of the daemon.

A daemon that lives and does not answer is left alone: it was stopped for a reason, or its threads all wait for a slow
hub, and it answers again. `hubfs status` tells of it, and `hubfs unmount --force` ends it.
"""

import contextlib
import errno
import logging
import logging.handlers
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hubfs.daemon import log_file
from hubfs.daemon.spawn import command, with_options
from hubfs.daemon.tuning import keep_memory_private
from hubfs.errors import MountFailed
from hubfs.mounts import presence
from hubfs.mounts import table as mount_table
from hubfs.mounts import taking as unmounting
from hubfs.mounts.processes import send

FIRST_DELAY_S = 0.1
LONGEST_DELAY_S = 30.0
HEALTHY_S = 60.0

_END_S = 1.5
"""A daemon that was told to end and did not within so long is killed."""
_LOG_LINES = 5
_LOG_TAIL_BYTES = 4096

_log = logging.getLogger(__name__)


def delay_s(deaths: int) -> float:
    """How long to wait before the next start, after so many deaths in a row (at least one)."""
    return float(min(LONGEST_DELAY_S, FIRST_DELAY_S * 2 ** min(deaths - 1, 32)))


def deaths_in_a_row(before: int, lived_s: float) -> int:
    """How many it are with one more, after a daemon that lived so long: healthy ones begin a new row."""
    return 1 if lived_s >= HEALTHY_S else before + 1


@dataclass(frozen=True)
class _Told:
    """A signal that asks for the end."""


@dataclass(frozen=True)
class _Said:
    """What a daemon has to say of its start: `ready`, a complaint, or nothing because it died."""

    text: str


@dataclass(frozen=True)
class _Ended:
    """A daemon's end: its status as subprocess has it."""

    status: int


_Event = _Told | _Said | _Ended


class Supervisor:
    """Keeps `hubfs mount ARGUMENTS…` running. For one `run`, in the main thread.

    `_events` is what everybody tells the main thread by: signal handlers, and a thread a daemon, which waits for its
    first word, then for its end. Nothing else is shared.
    """

    def __init__(self, arguments: Sequence[str], mountpoint: Path, log: Path | None) -> None:
        self._arguments = list(arguments)
        self._mountpoint = mountpoint
        self._log_file = log
        # What arguments, environment and config file name is relative to it.
        self._directory = _working_directory()
        # Signal handlers put into it: the one queue that is made for that.
        self._events: queue.SimpleQueue[_Event] = queue.SimpleQueue()

    def run(self, on_ready: Callable[[], None]) -> None:
        """Starts the daemon, and again whenever it dies; returns when it ended well, a signal asked for the end, or
        somebody else mounted a hub there while there was no daemon.

        `on_ready` is called once, when the first mount answers. Raises `MountFailed` with what the first daemon said
        when that never answered: what fails at once is not tried for ever.
        """
        _set_up_log(self._log_file)
        keep_memory_private()
        os.chdir("/")
        with self._alone(), self._signals_told():
            restarts = deaths = 0
            while True:
                started_s = time.monotonic()
                daemon = self._start(restarts)
                status = self._watch(daemon, (lambda: None) if restarts else on_ready, first=not restarts)
                if status in (None, 0):
                    return
                deaths = deaths_in_a_row(deaths, time.monotonic() - started_s)
                _log.error(
                    "The daemon of %s (process %d) %s; it is started again in %g s%s",
                    *(self._mountpoint, daemon.pid, _how(status), delay_s(deaths), self._last_lines()),
                )
                if self._is_told_within(delay_s(deaths)):
                    unmounting.detach(self._mountpoint)
                    return
                if self._is_taken():
                    _log.error(
                        "A hub was mounted at %s by somebody else meanwhile: that one stays, and this supervisor ends",
                        self._mountpoint,
                    )
                    return
                restarts += 1

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Has `hubfs unmount` find this process. Raises `MountFailed` if there is one for this mount point already."""
        name = presence.of_supervisor(mount_table.resolved(self._mountpoint))
        try:
            announced = presence.announce(name)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            if presence.find(name, {os.geteuid()}) is None:
                _log.warning("Another user's process goes by the name of the supervisor of %s", self._mountpoint)
                yield
                return
            raise MountFailed(
                f"A supervisor keeps a hub mounted at {self._mountpoint} already; `hubfs unmount {self._mountpoint}` "
                "ends it"
            ) from None
        with announced:
            yield

    @contextlib.contextmanager
    def _signals_told(self) -> Iterator[None]:
        def handle(_number: int, _frame: object) -> None:
            self._events.put(_Told())

        asking_for_the_end = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        for number in asking_for_the_end:
            signal.signal(number, handle)
        try:
            yield
        finally:
            # The process ends now. `hubfs unmount` tells the daemon and the supervisor to: a signal after the
            # end of the daemon must not turn a good end into a death by SIGTERM.
            for number in asking_for_the_end:
                signal.signal(number, signal.SIG_IGN)

    def _start(self, restarts: int) -> "subprocess.Popen[bytes]":
        ready, tell = os.pipe()
        try:
            daemon = subprocess.Popen(  # noqa: S603 - this very program
                command(
                    *with_options(
                        self._arguments,
                        *("--foreground", "--restarts", str(restarts), "--ready-fd", str(tell)),
                        *("--at", str(self._mountpoint)),
                    )
                ),
                stdin=subprocess.DEVNULL,
                pass_fds=[tell],
                cwd=self._directory if os.access(self._directory, os.X_OK) else "/",
            )
        except BaseException:
            os.close(ready)
            raise
        finally:
            os.close(tell)

        def hear() -> None:
            with os.fdopen(ready, encoding="utf-8", errors="replace") as pipe:
                self._events.put(_Said(pipe.read().strip()))  # which ends when the daemon closes its end, or dies
            self._events.put(_Ended(daemon.wait()))

        threading.Thread(target=hear, name="hear", daemon=True).start()
        return daemon

    def _watch(self, daemon: "subprocess.Popen[bytes]", on_ready: Callable[[], None], *, first: bool) -> int | None:
        """The status that the daemon ended with; None if somebody asked for the end, and it ended."""
        said, told = "", False
        deadline_s: float | None = None
        while True:
            try:
                event = self._events.get(
                    timeout=None if deadline_s is None else max(0.0, deadline_s - time.monotonic())
                )
            except queue.Empty:
                _log.warning("The daemon of %s does not end, and is killed", self._mountpoint)
                send(daemon.pid, signal.SIGKILL)
                deadline_s = None
                continue
            if isinstance(event, _Told):
                told = True
                deadline_s = deadline_s or time.monotonic() + _END_S
                send(daemon.pid, signal.SIGTERM)
            elif isinstance(event, _Said):
                said = event.text
                if said == "ready":
                    on_ready()
            elif told:
                if event.status:
                    unmounting.detach(self._mountpoint)
                return None
            elif first and said != "ready":
                raise MountFailed(said or f"The daemon ended without a word: it {_how(event.status)}")
            else:
                return event.status

    def _is_told_within(self, timeout_s: float) -> bool:
        """Waits; true as soon as somebody asks for the end."""
        try:
            self._events.get(timeout=timeout_s)  # no daemon is there that could have put something else
        except queue.Empty:
            return False
        return True

    def _is_taken(self) -> bool:
        """Whether a hub is mounted there that is not our dead one: nobody but its own supervisor may take that off."""
        return mount_table.is_mounted(self._mountpoint) and not mount_table.is_dead(self._mountpoint)

    def _last_lines(self) -> str:
        """What the log has to say, for the log of who looks after a fleet."""
        if self._log_file is None:
            return ""
        with contextlib.suppress(OSError), self._log_file.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _LOG_TAIL_BYTES))
            lines = file.read().decode("utf-8", "replace").splitlines()[-_LOG_LINES:]
            return "; its last lines:" + "".join(f"\n  {line}" for line in lines)
        return ""


def _working_directory() -> Path:
    with contextlib.suppress(OSError):  # somebody removed it
        return Path.cwd()
    return Path("/")


def _how(status: int) -> str:
    if status >= 0:
        return f"ended with status {status}"
    with contextlib.suppress(ValueError):
        return f"was killed by {signal.Signals(-status).name}"
    return f"was killed by signal {-status}"


def _file_handler(path: Path) -> logging.Handler:
    # The daemon rotates the file: this one opens it anew then. A mount point may have a name that is no text.
    return logging.handlers.WatchedFileHandler(path, encoding="utf-8", errors="backslashreplace")


def _set_up_log(path: Path | None) -> None:
    handler: logging.Handler = logging.StreamHandler(sys.stderr)
    if path is not None:
        with contextlib.suppress(OSError):  # the daemon warns of it
            os.close(log_file.opened(path))
            handler = _file_handler(path)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", handlers=[handler], force=True)
