"""The process that starts the daemon, starts it anew when it dies or hangs, and holds what a successor goes on with.

The daemon is a fork of this process, which has imported all of it, runs none of it, and has one thread: a successor
answers the sooner. This process asks the mount nothing and has no file of it: one that waited for an answer could not
end, and would keep the mount from ending.
"""

import contextlib
import errno
import logging
import logging.handlers
import math
import os
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from hubfs.daemon import log_file, policy
from hubfs.daemon.keeper import (
    READY,
    STOPPING,
    WATCHDOG,
    Birth,
    Keeper,
    channel_to_child,
    complaint_in,
    heard,
    served_in,
)
from hubfs.daemon.log_format import formatter
from hubfs.daemon.spawn import working_directory
from hubfs.daemon.tuning import keep_memory_private
from hubfs.errors import HubfsError, MountFailed
from hubfs.mounts import presence
from hubfs.mounts import table as mount_table
from hubfs.mounts import taking as unmounting
from hubfs.mounts.processes import send

_END_S = 1.5
"""A daemon that was told to end and did not within so long is killed."""
_STACKS_S = 1.0
"""A daemon that hangs gets SIGABRT, on which it writes the stacks of its threads, and SIGKILL so much later."""
_START_S = 15.0
"""A successor that does not answer within so long is killed."""
_TICK_S = 1.0
_MOST_SIGNALS = 1 << 10
_LOG_LINES = 5
_LOG_TAIL_BYTES = 4096

_ASKING_FOR_THE_END = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

_log = logging.getLogger(__name__)


@dataclass
class _Daemon:
    """A daemon that was started: its process, where it is heard, and what it has said so far."""

    pid: int
    channel: socket.socket
    is_successor: bool
    complaint: str = ""
    ready_s: float | None = None  # when its mount answered first
    well_s: float = 0.0  # when it was well the last time
    hung_s: float | None = None  # when it was told to end, for it said nothing for too long
    is_watched: bool = False  # whether it says now and then that it is well
    silence: policy.Patience = field(default_factory=policy.Patience)


class _Held:
    """The descriptors that a daemon gave away for its successor, by name."""

    def __init__(self) -> None:
        self.by_name: dict[str, int] = {}

    def take(self, said: Mapping[str, str], descriptors: list[int]) -> None:
        """Does what a daemon asks for; `descriptors` are ours from now on."""
        name = said.get("FDNAME", "")
        before = self.by_name.pop(name, None) if {"FDSTORE", "FDSTOREREMOVE"} & said.keys() else None
        if "FDSTORE" in said and descriptors:
            self.by_name[name] = descriptors.pop()
        for descriptor in [*descriptors, *([] if before is None else [before])]:
            os.close(descriptor)

    def release(self) -> None:
        """Closes them. If the daemon is gone, the mount is dead now, and who waits for it gets an error."""
        while self.by_name:
            os.close(self.by_name.popitem()[1])


class Supervisor:
    """Keeps a mount's daemon running. For one `run`, in the main thread of a process that has no other.

    `serve` is the daemon: it is called in a process of its own. `hang_s`: a daemon that was seen to answer, and does
    not for so long, is replaced.
    """

    def __init__(
        self,
        serve: Callable[[Birth], NoReturn],
        mountpoint: Path,
        manager: Keeper,
        *,
        log: Path | None,
        logs_json: bool,
        hang_s: float,
    ) -> None:
        self._serve = serve
        self._mountpoint = mountpoint
        self._log_file = log
        self._formatter = formatter(as_json=logs_json, mountpoint=mountpoint, several_lines=True)
        self._manager = manager
        self._hang_s = hang_s
        self._directory = working_directory()  # what the config names is relative to it
        self._held = _Held()
        self._woken, self._wakes = socket.socketpair()

    def run(self, on_ready: Callable[[], None]) -> None:
        """Starts the daemon, and again whenever it dies; returns when it ended well, a signal asked for the end, the
        mount was taken off, or somebody else mounted a hub there while there was no daemon.

        `on_ready` is called once, when the first mount answers. Raises `MountFailed` with what the first daemon said
        when that never answered: what fails at once is not tried for ever.
        """
        _set_up_log(self._log_file, self._formatter)
        keep_memory_private()
        os.chdir("/")
        with self._woken, self._wakes, self._alone() as name, self._signals_told():
            try:
                self._keep_running(on_ready, name)
            finally:
                self._held.release()

    def _keep_running(self, on_ready: Callable[[], None], name: socket.socket | None) -> None:
        row, restarts, takes_over = policy.Row(), 0, False
        while True:
            daemon = self._start(restarts, name, takes_over=takes_over)
            death = self._watch(daemon, (lambda: None) if restarts else on_ready, first=not restarts)
            served = served_in(self._held.by_name)
            if death is None:
                return
            if served is not None and (served.is_over() or mount_table.where_is(served.device) is None):
                return  # the mount was taken off, and the daemon died before it saw that
            row, plan = policy.after(row, death, held=served is not None)
            takes_over = plan.takes_over
            _log.error(
                "The daemon of %s (process %d) %s%s; %s%s",
                *(
                    self._mountpoint,
                    daemon.pid,
                    _how(death.status),
                    _because(death, daemon.complaint),
                    _next(plan),
                    self._last_lines(),
                ),
            )
            if not takes_over:
                self._held.release()
            if self._is_told_within(plan.delay_s):
                self._take_off()
                return
            if not takes_over and self._is_taken():
                _log.error(
                    "A hub was mounted at %s by somebody else meanwhile: that one stays, and this supervisor ends",
                    self._mountpoint,
                )
                return
            restarts += 1

    @contextlib.contextmanager
    def _alone(self) -> Iterator[socket.socket | None]:
        """Has `hubfs unmount` find this process. Raises `MountFailed` if there is one for this mount point already."""
        name = presence.of_supervisor(mount_table.resolved(self._mountpoint))
        try:
            announced = presence.announce(name)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            if presence.find(name, {os.geteuid()}) is None:
                _log.warning("Another user's process goes by the name of the supervisor of %s", self._mountpoint)
                yield None
                return
            raise MountFailed(
                f"A supervisor keeps a hub mounted at {self._mountpoint} already; `hubfs unmount {self._mountpoint}` "
                "ends it"
            ) from None
        with announced:
            yield announced

    @contextlib.contextmanager
    def _signals_told(self) -> Iterator[None]:
        """Has `_woken` readable once a signal asks for the end."""
        self._wakes.setblocking(False)
        signal.set_wakeup_fd(self._wakes.fileno(), warn_on_full_buffer=False)
        for number in _ASKING_FOR_THE_END:
            signal.signal(number, lambda _number, _frame: None)
        for number in (signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(number, signal.SIG_IGN)  # it is for daemons
        try:
            yield
        finally:
            # The process ends now. `hubfs unmount` tells the daemon and the supervisor to: a signal after the
            # end of the daemon must not turn a good end into a death by SIGTERM.
            for number in _ASKING_FOR_THE_END:
                signal.signal(number, signal.SIG_IGN)
            signal.set_wakeup_fd(-1)

    def _start(self, restarts: int, name: socket.socket | None, *, takes_over: bool) -> _Daemon:
        channel, keeper = channel_to_child(self._hang_s)
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid:
            keeper.close()
            return _Daemon(pid, channel, takes_over)
        try:
            signal.set_wakeup_fd(-1)
            for number in _ASKING_FOR_THE_END:
                signal.signal(number, signal.SIG_DFL)
            for ours in (channel, self._woken, self._wakes, *([name] if name else ())):
                ours.close()
            self._manager.close()
            if not takes_over:
                self._held.release()
            # Not into its own mount: nobody would answer.
            if not takes_over or not mount_table.leads_into(self._directory, {mount_table.resolved(self._mountpoint)}):
                os.chdir(self._directory if os.access(self._directory, os.X_OK) else "/")
            self._serve(Birth(keeper, self._held.by_name, restarts))
        except HubfsError as error:
            keeper.complain(str(error))
        except BaseException:  # noqa: BLE001 - this process is another than its caller's
            traceback.print_exc()
        finally:
            os._exit(1)

    def _watch(self, daemon: _Daemon, on_ready: Callable[[], None], *, first: bool) -> policy.Death | None:
        """How the daemon died; None if it ended well, or somebody asked for the end, and it ended."""
        started_s = time.monotonic()
        told_s: float | None = None
        with daemon.channel:
            while True:
                told, speaks = self._wait(_TICK_S if told_s is None else _END_S / 10, daemon.channel)
                if told:
                    self._manager.tell(STOPPING)
                    told_s = told_s or time.monotonic()
                    send(daemon.pid, signal.SIGTERM)
                if speaks and not self._hear(daemon, on_ready):
                    break
                if told_s is None:
                    self._end_if_it_hangs(daemon)
                elif time.monotonic() - told_s > _END_S:
                    _log.warning("The daemon of %s does not end, and is killed", self._mountpoint)
                    send(daemon.pid, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(daemon.pid, 0)[1])
        if told_s is not None:
            if status:
                self._take_off()
            return None
        if first and daemon.ready_s is None:
            raise MountFailed(daemon.complaint or f"The daemon ended without a word: it {_how(status)}")
        answered_s = None if daemon.ready_s is None else daemon.well_s - daemon.ready_s
        lived_s = time.monotonic() - started_s
        return policy.Death(status, lived_s, answered_s, hung=daemon.hung_s is not None) if status else None

    def _end_if_it_hangs(self, daemon: _Daemon) -> None:
        if daemon.hung_s is None:
            if daemon.silence.waited_s() > self._bound_s(daemon):
                daemon.hung_s = time.monotonic()
                send(daemon.pid, signal.SIGABRT)
        elif time.monotonic() - daemon.hung_s > _STACKS_S:
            send(daemon.pid, signal.SIGKILL)

    def _bound_s(self, daemon: _Daemon) -> float:
        """For how long the daemon may say nothing."""
        if daemon.ready_s is None:
            return _START_S if daemon.is_successor else math.inf  # the first one knows by itself when to give up
        # Readers of a mount that nobody can take over lose more by its end than by waiting.
        return self._hang_s if daemon.is_watched and served_in(self._held.by_name) else math.inf

    def _hear(self, daemon: _Daemon, on_ready: Callable[[], None]) -> bool:
        """Takes the next message; false if there is none, for the daemon is gone."""
        message = heard(daemon.channel)
        if message is None:
            return False
        said, descriptors = message
        self._held.take(said, descriptors)
        complaint = complaint_in(said)
        if complaint is not None:
            daemon.complaint = complaint
        elif "STATUS" in said:
            self._manager.say(said["STATUS"])
        if "READY" in said or "WATCHDOG" in said:
            daemon.silence.renew()
            daemon.well_s = time.monotonic()
            daemon.is_watched = daemon.is_watched or "WATCHDOG" in said
        if "READY" in said and daemon.ready_s is None:
            daemon.ready_s = daemon.well_s
            on_ready()
            self._manager.tell(READY)
        elif "WATCHDOG" in said:
            self._manager.tell(WATCHDOG)
        return True

    def _wait(self, timeout_s: float, channel: socket.socket | None = None) -> tuple[bool, bool]:
        """Whether somebody asks for the end, and whether the daemon of this channel says something, or is gone."""
        asking = select.poll()
        for each in (self._woken, channel):
            if each is not None:
                asking.register(each, select.POLLIN)
        ready = {number for number, _ in asking.poll(timeout_s * 1000)}
        told = self._woken.fileno() in ready
        if told:
            self._woken.recv(_MOST_SIGNALS)
        return told, channel is not None and channel.fileno() in ready

    def _is_told_within(self, timeout_s: float) -> bool:
        """Waits; true as soon as somebody asks for the end."""
        return self._wait(timeout_s)[0]

    def _take_off(self) -> None:
        """Takes the mount of a daemon off that is gone."""
        self._held.release()  # else it would live on, with nobody to answer
        unmounting.detach(self._mountpoint)

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


def _because(death: policy.Death, complaint: str) -> str:
    return ", for it did not answer any more" if death.hung else complaint and f": {complaint}"


def _next(plan: policy.Plan) -> str:
    when = f" in {plan.delay_s:g} s" if plan.delay_s else ""
    return f"another one takes its mount over{when}" if plan.takes_over else f"it is started again{when}"


def _how(status: int) -> str:
    if status >= 0:
        return f"ended with status {status}"
    with contextlib.suppress(ValueError):
        return f"was killed by {signal.Signals(-status).name}"
    return f"was killed by signal {-status}"


def _file_handler(path: Path) -> logging.Handler:
    # The daemon rotates the file: this one opens it anew then. A mount point may have a name that is no text.
    return logging.handlers.WatchedFileHandler(path, encoding="utf-8", errors="backslashreplace")


def _set_up_log(path: Path | None, form: logging.Formatter) -> None:
    handler: logging.Handler = logging.StreamHandler(sys.stderr)
    if path is not None:
        with contextlib.suppress(OSError):  # the daemon warns of it
            os.close(log_file.opened(path))
            handler = _file_handler(path)
    handler.setFormatter(form)
    logging.basicConfig(handlers=[handler], force=True)
