"""The life of a mount: from the command to the last unmount."""

import contextlib
import logging
import logging.handlers
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from hubfs import mount_table
from hubfs.blobs.url import redacted
from hubfs.config import Config
from hubfs.errors import InvalidConfig, MountFailed
from hubfs.fuse.attributes import Owner
from hubfs.fuse.binding import Binding, Timeouts, load, raise_read_ahead
from hubfs.fuse.operations import Operations
from hubfs.mount import Mount, assemble
from hubfs.status import RecentProblems
from hubfs.tuning import tune_process

_log = logging.getLogger(__name__)

_READY_TIMEOUT_S = 60.0
_GRACE_S = 5.0
"""After a signal, reads in flight have so long to end before the process goes, whoever still has files open."""

_LOG_LIMIT_BYTES = 10 << 20


def run(config: Config, mountpoint: Path, on_ready: Callable[[], None]) -> None:
    """Mounts and serves until the mount is taken off, or the process gets SIGTERM, SIGINT or SIGHUP.

    `on_ready` is called once, when the mount answers. To be called from the main thread. Raises `MountFailed`,
    `InvalidConfig`.
    """
    problems = RecentProblems()
    _set_up_log(config, problems)
    tune_process()
    mount_table.prepare(mountpoint)
    binding = load(config.fuse_library)
    mount = assemble(_without_mounts(config, mountpoint), mountpoint, binding.description, problems)
    os.chdir("/")  # a daemon must not keep the directory busy that it was started in
    done = threading.Event()
    server = _Server(binding, mount, mountpoint, config, done)
    with _signals_set(done):
        server.start()
        server.wait_until_ready()
        _log.info("%s is mounted at %s (%s)", redacted(config.hub), mountpoint, binding.description)
        on_ready()
        done.wait()
    server.stop()
    _log.info("%s is unmounted from %s", redacted(config.hub), mountpoint)


def _without_mounts(config: Config, mountpoint: Path) -> Config:
    """The config, with no directory of its own on a mount: a daemon that waits for itself waits for ever.

    `TFHUB_CACHE_DIR` may well name one, for the programs that read from the mount: it is ignored then. Raises
    `InvalidConfig` for a cache directory that somebody named for this daemon.
    """
    mounts = [Path(os.path.realpath(mount)) for mount in (mountpoint, *mount_table.mountpoints())]

    def is_on_a_mount(directory: Path | None) -> bool:
        return directory is not None and any(map(Path(os.path.realpath(directory)).is_relative_to, mounts))

    if is_on_a_mount(config.cache_dir) and config.cache_dir != config.extracted_dir:
        raise InvalidConfig(f"The cache directory {config.cache_dir} is on a mount of hubfs; --cache-dir names another")
    if is_on_a_mount(config.extracted_dir):
        kept = Config().cache_dir if config.cache_dir == config.extracted_dir else config.cache_dir
        _log.warning("TFHUB_CACHE_DIR is ignored: %s is on a mount of hubfs", config.extracted_dir)
        return replace(config, cache_dir=kept, extracted_dir=None)
    return config


class _Server(threading.Thread):
    """Runs libfuse's loop, away from the main thread, so that Python keeps its signal handlers.

    Inside the main thread a binding resets SIGINT, libfuse takes SIGTERM, and neither can end a read that waits for the
    network.
    """

    def __init__(self, binding: Binding, mount: Mount, mountpoint: Path, config: Config, done: threading.Event) -> None:
        super().__init__(name="fuse", daemon=True)
        self._binding = binding
        self._mount = mount
        self._mountpoint = mountpoint
        self._options = {**config.mount_options, **({"allow_other": True} if config.allow_other else {})}
        self._done = done
        self._error: Exception | None = None

    def run(self) -> None:
        try:
            operations = Operations(self._mount.tree, Owner.of_this_process())
            self._binding.serve(operations, self._mountpoint, options=self._options, timeouts=Timeouts())
        except Exception as error:  # noqa: BLE001 - told to the main thread, which raises it
            self._error = error
        finally:
            self._done.set()

    def wait_until_ready(self) -> None:
        """Returns once the mount answers."""
        version = self._mountpoint / ".hubfs" / "version"
        deadline_s = time.monotonic() + _READY_TIMEOUT_S
        while not self._done.is_set():
            with contextlib.suppress(OSError):
                if version.read_bytes():
                    raise_read_ahead(self._mountpoint)
                    return
            if time.monotonic() > deadline_s:
                self.stop()
                raise MountFailed(f"{self._mountpoint} did not answer within {_READY_TIMEOUT_S:g} s")
            time.sleep(0.01)
        self._mount.close()
        if self._error is not None:
            raise self._error
        raise MountFailed(f"{self._mountpoint} was unmounted, or the process was signalled, before it answered")

    def stop(self) -> None:
        """Ends every wait and transfer, takes the mount off if it is still there, and sees the loop end."""
        self._mount.close()
        if self.is_alive():
            mount_table.detach(self._mountpoint)
            self.join(_GRACE_S)
        if self.is_alive():
            # Somebody keeps a file open, which keeps the loop alive; what it reads from now on is "not connected".
            _log.warning("%s is still in use; ending all the same", self._mountpoint)
            logging.shutdown()
            os._exit(0)
        if self._error is not None:
            raise self._error


@contextlib.contextmanager
def _signals_set(event: threading.Event) -> Iterator[None]:
    def handle(_number: int, _frame: object) -> None:
        event.set()

    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _set_up_log(config: Config, problems: RecentProblems) -> None:
    handlers: list[logging.Handler] = [problems]
    if config.log_file is not None:
        try:
            config.log_file.parent.mkdir(parents=True, exist_ok=True)
            handlers.append(
                logging.handlers.RotatingFileHandler(config.log_file, maxBytes=_LOG_LIMIT_BYTES, backupCount=3)
            )
        except OSError as error:
            raise InvalidConfig(f"The log file {config.log_file} cannot be written: {error.strerror}") from None
    else:
        handlers.append(logging.StreamHandler())
    logging.basicConfig(
        level=config.log_level,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        handlers=handlers,
        force=True,
    )
