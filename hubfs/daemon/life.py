"""The life of a mount: from the command to the last unmount."""

import contextlib
import logging
import os
import queue
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from enum import Enum
from functools import partial
from pathlib import Path
from typing import NoReturn

from hubfs.blobs.http.url import redacted
from hubfs.daemon import log
from hubfs.daemon.dump import Dump, Sections
from hubfs.daemon.keeper import HANDED_OVER, READY, STOPPING, Birth, Keeper, Served, served_in
from hubfs.daemon.log_format import formatter
from hubfs.daemon.pulse import Pulse
from hubfs.daemon.reload import Reload, reload
from hubfs.daemon.tuning import give_back_memory, keep_memory_private, tune_process
from hubfs.errors import InvalidConfig, MountFailed
from hubfs.formats.inflating import process as worker_process
from hubfs.fuse.answers import Answers
from hubfs.fuse.attributes import Owner
from hubfs.fuse.bindings.libfuse import Binding
from hubfs.fuse.mounting import Timeouts, raise_read_ahead
from hubfs.fuse.passthrough import Passthrough
from hubfs.fuse.serving import load
from hubfs.fuse.session.door import KernelSession
from hubfs.hubs.registry import OF_CLIENTS
from hubfs.metrics.endpoint import Endpoint
from hubfs.mount import Mount, assemble
from hubfs.mounts import point as mount_point
from hubfs.mounts import presence
from hubfs.mounts import table as mount_table
from hubfs.mounts import taking as unmounting
from hubfs.settings.config import Config
from hubfs.status import RecentProblems

_log = logging.getLogger(__name__)

_READY_TIMEOUT_S = 60.0
_END_S = 1.2
"""After a signal, the process is gone within so long, whatever its readers, its threads and its stores wait for."""

_GIVEN_BACK_EVERY_S = 3.0
"""Memory that blocks left free goes back to the kernel so often."""

_CLOSE_S = 0.5
"""What is still to be written to a shared cache may take so much of that, before readers are told that it is over."""


class _Asked(Enum):
    """What a daemon is asked for: the end, a successor, its settings to be read anew."""

    END = "end"
    SUCCESSOR = "successor"
    RELOAD = "reload"


_Done = queue.SimpleQueue[_Asked]
"""Has something in it once something is asked for. An event would wait for its own lock where a signal meets who waits
for it."""


def run(
    config: Config, mountpoint: Path, on_ready: Callable[[], None], birth: Birth, again: Reload | None = None
) -> NoReturn:
    """Mounts and serves until the mount is taken off, or the process gets SIGTERM, SIGINT or SIGHUP; then ends the
    process, with status 0. Or serves on what an earlier daemon left; and leaves it to the next one on SIGUSR2.
    With `again`, SIGHUP has a new program take the place of this one.

    `on_ready` is called once, when the mount answers, before the keeper is told. To be called from the main thread.
    Raises `MountFailed`, `InvalidConfig`.
    """
    os.umask(0o077)  # whatever a daemon makes, the log as well as the cache, is for who mounted alone
    problems = RecentProblems()
    log.set_up(config, mountpoint, problems)
    tune_process()
    keep_memory_private()
    form = formatter(as_json=config.logs_json, mountpoint=mountpoint)
    dump = Dump(problems.log_file, form, as_json=config.logs_json)
    dump.listen()
    done: _Done = queue.SimpleQueue()
    # To the last: one that comes twice must not make it the end of a daemon that was killed.
    with _signals_told(done, _Asked.END if again is None else _Asked.RELOAD):
        server = _serving(config, mountpoint, problems, done, birth)
        dump.tell_of(server.at_work())
        with _findable(server.device):
            on_ready()
            birth.keeper.tell(READY)
            birth.keeper.say(f"{_hubs(config)} is at {mountpoint}")
            Pulse(birth.keeper, server.device, server.handled).start()
            while (asked := _asked(done, _GIVEN_BACK_EVERY_S)) in (None, _Asked.RELOAD):
                if asked is not None and again is not None:
                    reload(again, birth, server.served, mountpoint)
                give_back_memory()
        if asked is _Asked.SUCCESSOR and birth.keeper and server.served is not None:
            _log.info("%s is left to the next daemon", mountpoint)
            logging.shutdown()
            os._exit(HANDED_OVER)  # as if it was killed: what it has not answered is asked again
        birth.keeper.tell(STOPPING)
        server.stop()
        if server.served is not None:  # who still reads is told that it is over
            birth.keeper.drop(server.served.by_name)
        _log.info("%s is unmounted from %s", _hubs(config), mountpoint)
        # Not an ordinary exit: that would wait for threads that ask for a name or a connection, which cannot be given
        # up, and takes the interpreter apart for longer than all the rest takes on a busy machine.
        logging.shutdown()
        os._exit(0)


def _asked(done: "_Done", within_s: float) -> _Asked | None:
    """What is asked for first; None if nothing is."""
    try:
        return done.get(timeout=within_s)
    except queue.Empty:
        return None


def _serving(config: Config, mountpoint: Path, problems: RecentProblems, done: "_Done", birth: Birth) -> "_Server":
    """A mount that answers."""
    config = _without_mounts(config, mountpoint)
    passthrough = Passthrough.on_this_machine(config.cache_dir, verify_each_read=config.verify_each_read)
    left = _taken_over(birth, passthrough)
    endpoint = None if config.metrics_addr is None else Endpoint(config.metrics_addr)
    if endpoint is not None and left is None and not birth.restarts:
        endpoint.open()  # a new mount is refused where the port is taken; a mount that is in use goes on without
    with mount_point.claimed(mountpoint) if left is None else contextlib.nullcontext():
        binding = load(config.fuse_library, passthrough) if left is None else left[0]
        for text in config.warnings:
            _log.warning("%s", text)
        unconfined_by = _unconfined_by(config)
        mount = assemble(
            config,
            mountpoint,
            binding.description,
            problems,
            restarts=birth.restarts,
            unconfined_by=unconfined_by,
            passthrough=passthrough.describe,
            metrics_addr=lambda: None if endpoint is None else endpoint.where,
        )
        os.chdir("/")  # a daemon must not keep the directory busy that it was started in
        server = _Server(binding, mount, mountpoint, config, done)
        if left is not None:
            server.device = left[1].device
        if isinstance(binding, KernelSession):
            binding.on_lasting = partial(server.give, birth.keeper)
        if endpoint is not None:
            endpoint.serve(mount.metrics.text, mount.cancellation)
        server.start()
        try:
            server.wait_until_ready()
        except BaseException:
            server.stop()
            raise
    how = "mounted" if left is None else "still mounted, and was taken over"
    _log.info("%s is %s at %s (%s)", _hubs(config), how, mountpoint, binding.description)
    return server


def _taken_over(birth: Birth, passthrough: Passthrough) -> tuple[KernelSession, Served] | None:
    """The session with the kernel that an earlier daemon left, for a mount that is still there.

    What else the keeper held is closed, there, too: a mount that nobody can serve is dead, and no longer waited for.
    """
    served = served_in(birth.held)
    if served is not None and (served.is_over() or mount_table.where_is(served.device) is None):
        if birth.restarts is not None:  # it was taken off just now: nobody wants it back from a supervisor
            logging.shutdown()
            os._exit(0)
    elif served is not None:
        try:
            return KernelSession(passthrough, (served.connection, served.nodes)), served
        except ValueError as error:
            _log.error("The mount of an earlier daemon cannot be taken over: %s", error)
    for descriptor in birth.held.values():
        os.close(descriptor)
    birth.keeper.drop(birth.held)
    return None


def _hubs(config: Config) -> str:
    return ", ".join(redacted(own.hub) for own in config.each_hub().values())


def _unconfined_by(config: Config) -> str | None:
    """What the process that inflates archives cannot give up; empty if nothing, None if there is no such process.

    A mount goes on without, and says so. With `--require-sandbox` it raises `MountFailed`.
    """
    if not config.inflate_workers:
        if config.require_sandbox:
            raise MountFailed(
                "--require-sandbox: archives would be inflated in the daemon itself; leave --inflate-workers above 0"
            )
        return None
    lacking = worker_process.unconfined_by()
    if lacking and config.require_sandbox:
        raise MountFailed(
            "--require-sandbox: the process that inflates archives could not be confined here, for want of: "
            f"{lacking}; Linux 5.13 has what it takes, but a container's own filter may forbid it"
        )
    if lacking:
        _log.warning(
            "The process that inflates archives is not confined as it should be, for want of: %s; an archive that "
            "takes it over could do what its user can (--require-sandbox refuses to mount then)",
            lacking,
        )
    return lacking


@contextlib.contextmanager
def _findable(device: int | None) -> Iterator[None]:
    """Has `hubfs unmount --force` find this process, even if it does not answer any more."""
    with contextlib.ExitStack() as announced:
        if device is not None:
            with contextlib.suppress(OSError):  # another user took the name; then the status says who this is
                announced.enter_context(presence.announce(presence.of_daemon(device)))
        yield


def _without_mounts(config: Config, mountpoint: Path) -> Config:
    """The config, with no directory of its own on a mount: a daemon that waits for itself waits for ever.

    A variable of a client library may well name one, for the programs that read from the mount: it is ignored then.
    Raises `InvalidConfig` for a cache directory that somebody named for this daemon.
    """
    # By the kernel's names for them: to ask a mount for its root would wait for a daemon that is stuck.
    mounts = {mount_table.resolved(mountpoint), *mount_table.mountpoints()}

    def is_on_a_mount(directory: Path | None) -> bool:
        return directory is not None and mount_table.leads_into(directory, mounts)

    if is_on_a_mount(config.cache_dir) and config.cache_dir != config.extracted_dir:
        raise InvalidConfig(f"The cache directory {config.cache_dir} is on a mount of hubfs; --cache-dir names another")
    if is_on_a_mount(config.extracted_dir):
        kept = Config().cache_dir if config.cache_dir == config.extracted_dir else config.cache_dir
        _log.warning("%s is ignored: %s is on a mount of hubfs", OF_CLIENTS["cache_dir"], config.extracted_dir)
        return replace(config, cache_dir=kept, extracted_dir=None)
    return config


class _Server(threading.Thread):
    """Runs the loop with the kernel, away from the main thread, so that Python keeps its signal handlers.

    Inside the main thread a binding of libfuse resets SIGINT, libfuse takes SIGTERM, and neither can end a read that
    waits for the network.
    """

    def __init__(
        self, binding: Binding | KernelSession, mount: Mount, mountpoint: Path, config: Config, done: "_Done"
    ) -> None:
        super().__init__(name="fuse", daemon=True)
        self._binding = binding
        self._mount = mount
        self._answers = Answers(mount.tree, Owner.of_this_process(), mount.operations)
        self._mountpoint = mountpoint
        self._options = {**config.mount_options, **({"allow_other": True} if config.allow_other else {})}
        self._done = done
        self.device: int | None = None
        self.served: Served | None = None
        self._error: Exception | None = None

    def run(self) -> None:
        try:
            self._binding.serve(self._answers, self._mountpoint, options=self._options, timeouts=Timeouts())
        except Exception as error:  # noqa: BLE001 - told to the main thread, which raises it
            self._error = error
        finally:
            self._done.put(_Asked.END)

    def at_work(self) -> Sections:
        """What the daemon is at, for those who ask."""
        return {"requests of the kernel": self._requests, "open files": self._open_files, **self._mount.at_work}

    def _requests(self) -> list[str]:
        if not isinstance(self._binding, KernelSession):
            return [f"served by {self._binding.description}"]
        return [f"{self._binding.waiting} are being handled; {self._binding.handled} were"]

    def _open_files(self) -> list[str]:
        keys = self._answers.files.keys()
        return [f"{len(keys)} are open", *(f"{times} times {key}" for key, times in Counter(keys).most_common())]

    def handled(self) -> int:
        """How many requests the session has handled, about; 0 where libfuse serves, which does not count."""
        return self._binding.handled if isinstance(self._binding, KernelSession) else 0

    def give(self, keeper: Keeper, connection: int, nodes: int) -> None:
        """Has the keeper hold what a successor serves the mount on with."""
        self.device = self.device or mount_table.device_of(self._mountpoint)
        if self.device is not None:
            self.served = Served(connection, nodes, self.device)
            keeper.keep(self.served)

    def wait_until_ready(self) -> None:
        """Returns once the mount answers."""
        answers = self._binding.agreed.is_set if isinstance(self._binding, KernelSession) else self._can_be_read
        deadline_s = time.monotonic() + _READY_TIMEOUT_S
        while self._done.empty():
            if answers():
                self.device = self.device or mount_table.device_of(self._mountpoint)
                if self.device is not None:
                    raise_read_ahead(self.device)
                return
            if time.monotonic() > deadline_s:
                raise MountFailed(f"{self._mountpoint} did not answer within {_READY_TIMEOUT_S:g} s")
            time.sleep(0.01)
        if self._error is not None:
            raise self._error
        raise MountFailed(f"{self._mountpoint} was unmounted, or the process was signalled, before it answered")

    def _can_be_read(self) -> bool:
        with contextlib.suppress(OSError):
            return bool((self._mountpoint / ".hubfs" / "version").read_bytes())
        return False

    def stop(self) -> None:
        """Ends every wait and transfer, takes the mount off if it is still there, and sees the threads end.

        Waits no longer than 1.2 s for that. Raises what the loop failed with.
        """
        deadline_s = time.monotonic() + _END_S
        closing = threading.Thread(target=self._mount.close, name="close", daemon=True)
        closing.start()
        if self.is_alive():
            self._detach()
        closing.join(_CLOSE_S)
        self._mount.cancellation.cancel()  # if a store does not let `close` come to that
        threads = [closing, self, *(each for each in threading.enumerate() if not each.daemon)]
        for thread in threads:
            if thread is not threading.main_thread():
                thread.join(max(0.0, deadline_s - time.monotonic()))
        left = {thread.name for thread in threads if thread.is_alive()} - {threading.main_thread().name}
        if left:
            _log.warning("%s is still in use (%s); ending all the same", self._mountpoint, ", ".join(sorted(left)))
        if self._error is not None:
            raise self._error

    def _detach(self) -> None:
        # Not by its name alone: a directory above it may have another one by now.
        known = self.device is not None
        where = mount_table.where_is(self.device) if self.device is not None else self._mountpoint
        if where is not None and (known or mount_table.is_mounted(where)):
            reason = unmounting.detach(where, patience_s=_END_S / 2)
            if reason:
                _log.warning("%s could not be unmounted: %s", where, reason)


@contextlib.contextmanager
def _signals_told(done: "_Done", by_hangup: _Asked) -> Iterator[None]:
    meanings = {
        signal.SIGTERM: _Asked.END,
        signal.SIGINT: _Asked.END,
        signal.SIGHUP: by_hangup,
        signal.SIGUSR2: _Asked.SUCCESSOR,
    }

    def handle(number: int, _frame: object) -> None:
        done.put(meanings[signal.Signals(number)])

    before = {number: signal.signal(number, handle) for number in meanings}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
