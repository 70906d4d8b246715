"""Who is compared: each makes a model readable in its own way, in a fresh directory, and leaves nothing behind.

A peer is entered before the clock starts, `deliver` runs on the clock. So a daemon that knows nothing of the model yet
is up in time, and what is done because of the model is timed.
"""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from scripts._bench.hosts import BUCKET, Hosts
from scripts._bench.measure import Failed, Usage, downloader, last_line, program, usage
from scripts._bench.models import Model
from tests.support.mount import Machine, Mount, clear, is_mounted, mounted
from tests.support.paths import WORK

KAGGLEHUB = WORK / "kagglehub" / "newest"
"""A folder for PYTHONPATH; scripts/bench installs the package there."""

HUGGINGFACE_HUB = WORK / "huggingface_hub"
"""Likewise."""

_MOUNT_TIMEOUT_S = 120


@dataclass(frozen=True)
class Ready:
    """`deliver` returns the path, or handle, to be loaded in the manner `how` (see load.py).

    `pids`: its daemon's. `environment`: what the loading program needs. `resolves`: loading fetches everything first.
    """

    deliver: Callable[[], str]
    how: str = "saved_model"
    environment: dict[str, str] = field(default_factory=dict)
    pids: Callable[[], Sequence[int]] = tuple

    def usage(self) -> Usage:
        """Of its daemon so far."""
        return usage(self.pids())


Peer = Callable[[Hosts, Model, Path], AbstractContextManager[Ready]]
"""Called with a fresh directory."""


def hubfs(form: str, *options: str) -> Peer:
    """`hubfs mount --format FORM OPTIONS…`, with an empty cache."""

    @contextlib.contextmanager
    def peer(hosts: Hosts, model: Model, work: Path) -> Iterator[Ready]:
        with hubfs_mount(hosts, work, form, *options) as mount:
            yield Ready(lambda: str(mount.path / model.handle), pids=mount.pids)

    return peer


@contextlib.contextmanager
def hubfs_published(hosts: Hosts, model: Model, work: Path) -> Iterator[Ready]:
    """As `hubfs`, of a host that has what `hubfs index` makes beside its archive."""
    work.mkdir(parents=True, exist_ok=True)
    index = work / "published.hubfs-index"  # made anew: one that another version made may be refused
    command: list[str | Path] = [Path(sys.executable).with_name("hubfs"), "index", model.archive, "--output", index]
    subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL)
    with hosts.published(model, index), hubfs("compressed")(hosts, model, work) as ready:
        yield ready


def hubfs_mount(hosts: Hosts, work: Path, form: str, *options: str | Path) -> AbstractContextManager[Mount]:
    """A mount whose cache is `work/cache`."""
    machine = Machine(work / "machine", {"STORAGE_EMULATOR_HOST": hosts.store_url})
    always = ("--format", form, "--cache-dir", work / "cache")
    return mounted(machine, work / "hub", hosts.hub_url, *always, *options)


@contextlib.contextmanager
def hubfs_of_kaggle(hosts: Hosts, model: Model, work: Path) -> Iterator[Ready]:
    """`hubfs mount --hub kaggle:`, with an empty cache."""
    machine = Machine(work / "machine", {"HUBFS_KAGGLE_ENDPOINT": hosts.kaggle_url})
    with mounted(machine, work / "hub", "kaggle:", "--cache-dir", work / "cache") as mount:
        yield Ready(lambda: str(mount.path / model.kaggle), pids=mount.pids)


@contextlib.contextmanager
def kagglehub(hosts: Hosts, model: Model, work: Path) -> Iterator[Ready]:
    """`kagglehub.model_download` with an empty cache: what it returns is loaded. It was imported before."""
    folders = {"PYTHONPATH": str(KAGGLEHUB), "KAGGLEHUB_CACHE": str(work / "kagglehub"), "HOME": str(work)}
    server = {"KAGGLE_API_ENVIRONMENT": "LOCALHOST", "HTTP_PROXY": hosts.kaggle_url, "NO_PROXY": "", "no_proxy": ""}
    quiet = {"KAGGLEHUB_VERBOSITY": "error"}  # it reports to stdout
    with program(work, downloader("kagglehub"), environment=folders | server | quiet, name="kagglehub") as started:
        started.wait_until_ready()
        yield Ready(lambda: str(started.run(handle=model.kaggle)["path"]))


def hubfs_options() -> str:
    """The help text of `hubfs mount`: says which options there are."""
    help_text: list[str | Path] = [Path(sys.executable).with_name("hubfs"), "mount", "--help"]
    return subprocess.run(help_text, check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL).stdout


@contextlib.contextmanager
def local(_hosts: Hosts, model: Model, _work: Path) -> Iterator[Ready]:
    """The model's own directory: the limit."""
    yield Ready(lambda: str(model.directory))


def tensorflow_hub(how: str) -> Peer:
    """hub.load or hub.resolve of the handle's URL, with an empty cache."""

    @contextlib.contextmanager
    def peer(hosts: Hosts, model: Model, work: Path) -> Iterator[Ready]:
        environment = {"TFHUB_CACHE_DIR": str(work / "tfhub"), "TFHUB_MODEL_LOAD_FORMAT": "COMPRESSED"}
        yield Ready(lambda: f"{hosts.hub_url}/{model.handle}", how, environment)

    return peer


@contextlib.contextmanager
def curl_tar(hosts: Hosts, model: Model, work: Path) -> Iterator[Ready]:
    """`curl | tar xz` into a directory."""
    target = work / "extracted"
    target.mkdir()

    def deliver() -> str:
        pipeline = f"set -o pipefail; curl -sSf '{hosts.archive_url(model)}' | tar -xz -C '{target}'"
        _run(["bash", "-c", pipeline])
        return str(target)

    yield Ready(deliver)


@contextlib.contextmanager
def curl(hosts: Hosts, model: Model, _work: Path) -> Iterator[Ready]:
    """The bare transfer of the archive."""

    def deliver() -> str:
        _run(["curl", "-sSf", "-o", "/dev/null", hosts.archive_url(model)])
        return ""

    yield Ready(deliver)


@contextlib.contextmanager
def ratarmount(hosts: Hosts, model: Model, work: Path) -> Iterator[Ready]:
    """Ratarmount of the archive's URL. Its mount needs the model's index: making that is on the clock."""
    target, log = work / "hub", work / "ratarmount.log"
    target.mkdir()
    with contextlib.ExitStack() as stack:
        daemons: list[int] = []

        def deliver() -> str:
            command: list[str | Path] = [
                tool("ratarmount"),
                "-f",
                "--index-file",
                work / "index.sqlite",
                hosts.archive_url(model),
                target,
            ]
            daemons.append(stack.enter_context(_mounting(command, target, log)))
            return str(target)

        yield Ready(deliver, pids=lambda: daemons)


def rclone(*options: str) -> Peer:
    """`rclone mount --vfs-cache-mode full OPTIONS…` of the model's objects, through the store's own protocol."""

    @contextlib.contextmanager
    def peer(hosts: Hosts, model: Model, work: Path) -> Iterator[Ready]:
        target = work / "hub"
        target.mkdir()
        remote = ["--gcs-anonymous", "--gcs-endpoint", f"{hosts.store_url}/storage/v1/", "--config", "/dev/null"]
        cached: list[str | Path] = ["--vfs-cache-mode", "full", "--cache-dir", work / "cache", "--read-only"]
        command: list[str | Path] = [
            tool("rclone"),
            "mount",
            f":gcs:{BUCKET}/{model.handle}",
            target,
            *remote,
            *cached,
            *options,
        ]
        with _mounting(command, target, work / "rclone.log") as pid:
            yield Ready(lambda: str(target), pids=lambda: [pid])

    return peer


def tool(name: str) -> Path:
    """A peer's program; scripts/bench installs it, and says where."""
    return Path(os.environ["HUBFS_BENCH_TOOLS"]) / name


def _run(command: Sequence[str | Path]) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed(f"{command[0]} ended with status {done.returncode}: {done.stderr.strip()[-400:]}")


@contextlib.contextmanager
def _mounting(command: Sequence[str | Path], target: Path, log: Path) -> Iterator[int]:
    """Runs a program that mounts something at `target`; gives its process id as soon as it is mounted."""
    with (
        log.open("wb") as output,
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        ) as process,
    ):
        try:
            deadline_s = time.monotonic() + _MOUNT_TIMEOUT_S
            while not is_mounted(target):
                if process.poll() is not None or time.monotonic() > deadline_s:
                    raise Failed(f"{Path(command[0]).name} did not mount: {last_line(log)}")
                time.sleep(0.005)
            yield process.pid
        finally:
            clear(target)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5)
            process.kill()
