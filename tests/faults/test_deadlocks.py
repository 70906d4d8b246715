"""The whole pipeline without FUSE, its threads interleaved at random: no deadlock, nor a lock that could become one."""

import faulthandler
import os
import random
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from hubfs.errors import Cancelled, HubfsError, NotFound, TimedOut, Unavailable
from hubfs.mount import Mount, assemble
from hubfs.settings.config import Config
from hubfs.status import RecentProblems
from tests.support.archives import gzipped, tar_of
from tests.support.figures import Figures, budget
from tests.support.gcs_server import Fault, GcsServer, gcs_server
from tests.support.http_origin import Answer, HttpOrigin, Request, Resource, cut, stall, status, well
from tests.support.locks import Watch, watching_locks
from tests.support.tree_hub import attributes_of

pytestmark = pytest.mark.timeout(0)  # the alarm is the hunter's own

MIB = 1 << 20
READERS = 12

ALARM_S = 10.0
"""Nothing takes so long here: when no call ends for so long, threads wait for each other."""

END_S = 10.0
"""Within so long after the end of a mount every call has ended, and every thread; a quarter of a second on a machine
that does nothing else."""

_NOISE = random.Random(8)


def _files(data_bytes: int) -> dict[str, bytes]:
    return {
        "assets/vocab.txt": b"",
        "variables/variables.index": _NOISE.randbytes(5000),
        "variables/variables.data-00000-of-00001": _NOISE.randbytes(data_bytes),
        "saved_model.pb": _NOISE.randbytes(200_000),
    }


ARCHIVES = {f"hunt/archive{n}/1": _files(size) for n, size in enumerate((MIB, 4 * MIB, 9 * MIB))}
BUCKETS = {f"hunt/bucket{n}/1": _files(size) for n, size in enumerate((MIB, 6 * MIB + 5))}
MODELS = ARCHIVES | BUCKETS


@dataclass
class World:
    """Real servers, and how to spoil what they send."""

    hub: HttpOrigin
    store: GcsServer
    chance: random.Random = field(default_factory=lambda: random.Random(3))

    def disturb(self) -> None:
        """What comes next goes wrong, in a way that may heal."""
        path = f"/{self.chance.choice([*ARCHIVES])}"
        faults = (
            cut(self.chance.randrange(MIB), reset=True),
            cut(self.chance.randrange(MIB)),
            stall(self.chance.randrange(MIB), 0.3),
            status(503),
            well(),
        )
        self.hub.script(path, self.chance.choice(faults))
        if self.chance.random() < 0.3:
            self.store.spoil(self.chance.choice([Fault(status=503), Fault(cut_after_bytes=1000), Fault(stall_s=0.2)]))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    for handle, files in BUCKETS.items():
        for path, data in files.items():
            (tmp_path / "store" / "models" / handle / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "store" / "models" / handle / path).write_bytes(data)
    with HttpOrigin() as hub, gcs_server(tmp_path / "store") as store:
        for number, (handle, files) in enumerate(ARCHIVES.items()):
            hub.route(f"/{handle}", _compressed(Resource(gzipped(tar_of(files), level=1), etag=f'"{number}"')))
        for handle in BUCKETS:
            hub.route(f"/{handle}", _in_bucket(f"gs://models/{handle}"))
        yield World(hub, store)


def _compressed(archive: Resource):
    def answer(request: Request) -> Answer:
        return archive(request) if request.query == "tf-hub-format=compressed" else Answer(404)

    return answer


def _in_bucket(url: str):
    def answer(request: Request) -> Answer:
        return Answer(303, {}, url.encode()) if request.query == "tf-hub-format=uncompressed" else Answer(404)

    return answer


class Hunt:
    """Threads that ask one mount for everything at random, until it ends. Counts what ended, and how."""

    def __init__(self, mount: Mount, seed: int) -> None:
        self._mount = mount
        self._stopping = threading.Event()
        self.finished = 0
        self.errors = 0
        self.faults: list[str] = []
        self._threads = [threading.Thread(target=self._run, args=(seed + n,), name=f"hunt {n}") for n in range(READERS)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopping.set()

    def running(self) -> list[str]:
        return [thread.name for thread in self._threads if thread.is_alive()]

    def _run(self, seed: int) -> None:
        chance = random.Random(seed)
        while not self._stopping.is_set():
            try:
                self._ask(chance)
            except (Unavailable, TimedOut, Cancelled):
                self.errors += 1
            except HubfsError as error:
                self.faults.append(f"{type(error).__name__}: {error}")
            except AssertionError as wrong:
                self.faults.append(f"wrong: {str(wrong)[:200]}")
            self.finished += 1

    def _ask(self, chance: random.Random) -> None:
        tree = self._mount.tree
        handle = chance.choice([*MODELS])
        path = chance.choice([*MODELS[handle]])
        match chance.randrange(10):
            case 0:
                assert tree.stat(f"/{handle}/{path}").size_bytes == len(MODELS[handle][path])
            case 1:
                assert [name for name, _ in tree.list(f"/{handle}")] == ["assets", "saved_model.pb", "variables"]
            case 2:
                with pytest.raises(NotFound):
                    tree.stat(f"/{handle}/nothing")
            case 3:
                assert attributes_of(tree, f"/{handle}")["user.hubfs.handle"] == handle
            case 4:
                assert "hunt" in {name for name, _ in tree.list("/")} | {"hunt"}
                control = tree.open("/.hubfs/status.json")
                assert control.blob.read_at(0, 1)
                control.release()
            case _:
                self._read(handle, path, chance)

    def _read(self, handle: str, path: str, chance: random.Random) -> None:
        data = MODELS[handle][path]
        file = self._mount.tree.open(f"/{handle}/{path}")
        try:
            for _ in range(chance.randrange(1, 6)):
                offset, size = chance.randrange(len(data) + 1), chance.choice((1, 4096, MIB, 3 * MIB))
                assert file.blob.read_at(offset, size) == data[offset : offset + size], f"{handle}/{path} at {offset}"
            backing = file.backing(chance.choice((0.0, 0.2)))
            if backing is not None:
                with os.fdopen(backing, "rb") as whole:
                    assert whole.read() == data, f"{handle}/{path} as a backing file"
        finally:
            file.release()


def config(world: World, cache: Path, *, inflate_workers: int, disk: bool) -> Config:
    return Config(
        hub=world.hub.url,
        cache_dir=cache if disk else None,
        cache_size_bytes=12 * MIB,
        memory_size_bytes=16 * MIB,
        inflate_workers=inflate_workers,
        gcs_endpoint_url=world.store.url,
        stall_timeout_s=1.0,
        connect_timeout_s=1.0,
    )


@contextmanager
def switching(interval_s: float) -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(interval_s)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def all_threads() -> str:
    with tempfile.TemporaryFile("w+") as file:
        faulthandler.dump_traceback(file)
        file.seek(0)
        return file.read()


def ours() -> list[str]:
    """The threads of hubfs that run: the servers' and the libraries' have other names."""
    names = ("fetch", "pass ", "prefetch", "page cache", "feed-inflate", "pump", "leases", "shared cache", "hub ")
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(names)]


def test_no_thread_ever_waits_for_another_in_a_circle(world: World, figures: Figures, tmp_path: Path) -> None:
    seed = int(budget("deadlock_seed", boxed=1, full=time.time_ns() % 1_000_000))
    chance = random.Random(seed)
    until_s = time.monotonic() + budget("deadlock_s", boxed=16, full=60)
    mounts = finished = errors = 0
    longest_end_s = 0.0
    with watching_locks(seed) as watch:
        while time.monotonic() < until_s:
            settings = config(
                world, tmp_path / "cache", inflate_workers=int(mounts % 4 == 3), disk=chance.random() < 0.8
            )
            with switching(10 ** chance.uniform(-6, -3)):
                hunt, end_s = one_mount(world, settings, chance, seed=seed + 1000 * mounts)
            mounts, finished, errors = mounts + 1, finished + hunt.finished, errors + hunt.errors
            longest_end_s = max(longest_end_s, end_s)
            assert not hunt.faults, f"seed {seed}: {hunt.faults[:5]}"
    figures.note(
        "deadlocks",
        mounts=mounts,
        calls=finished,
        errors_by_faults=errors,
        acquisitions=watch.acquisitions,
        lock_orders=len(watch.orders),
        longest_end_s=longest_end_s,
        seed=seed,
        deadlocks=0,
    )
    assert not watch.faults(), f"seed {seed}:\n" + "\n\n".join(watch.faults())
    assert finished > 50 * mounts, "hardly anything was asked"


def one_mount(world: World, settings: Config, chance: random.Random, *, seed: int) -> tuple[Hunt, float]:
    """One mount's life, ended at a random instant; returns what was asked of it, and how long its end took."""
    mount = assemble(settings, Path("/mnt/hunt"), "none", RecentProblems())
    hunt = Hunt(mount, seed)
    hunt.start()
    try:
        end_s = time.monotonic() + chance.uniform(0.05, 3)
        seen, seen_s = 0, time.monotonic()
        while time.monotonic() < end_s:
            time.sleep(0.02)
            world.disturb()
            if hunt.finished != seen:
                seen, seen_s = hunt.finished, time.monotonic()
            assert time.monotonic() - seen_s < ALARM_S, f"seed {seed}: no call ends\n{all_threads()}"
    finally:
        ending_s = time.monotonic()
        mount.close()
        hunt.stop()
        while (left := [*hunt.running(), *ours()]) and time.monotonic() - ending_s < END_S:
            time.sleep(0.01)
        world.hub.reset()
        world.store.reset()
    assert not left, f"seed {seed}: {left} go on after the end of the mount\n{all_threads()}"
    return hunt, time.monotonic() - ending_s


# The hunter finds what it is there for.

PLANTED = """
import os, threading, time
class Account:
    def __init__(self):
        self._lock = threading.Lock()
class Bank:
    def __init__(self):
        self._lock = threading.Lock()
        self._changed = threading.Condition()
def one_way(bank, account):
    with bank._lock, account._lock: pass
def other_way(bank, account):
    with account._lock, bank._lock: pass
def both(account, other):
    with account._lock, other._lock: pass
def io(bank):
    with bank._lock: open(os.devnull).close()
def wait(bank):
    with bank._lock:
        with bank._changed: bank._changed.wait(0.001)
def well(bank, account):
    with bank._changed:
        bank._changed.wait(0.001)
        threading.Thread(target=len, args=((),)).start()
    if bank._lock.acquire(blocking=False):
        open(os.devnull).close()
        bank._lock.release()
"""


@pytest.mark.parametrize(
    ("does", "found"),
    [
        ("one_way(bank, account); other_way(bank, account)", "locks are taken in a circle: planted.Account._lock"),
        ("both(account, Account())", "locks are taken in a circle: planted.Account._lock → planted.Account._lock"),
        ("io(bank)", "open under planted.Bank._lock"),
        ("wait(bank)", "a wait under planted.Bank._lock"),
        ("one_way(bank, account)", None),
        ("well(bank, account)", None),
    ],
)
def test_a_planted_fault_is_found_though_nothing_happened(does: str, found: str | None, tmp_path: Path) -> None:
    planted = tmp_path / "planted.py"
    planted.write_text(PLANTED)
    names: dict[str, object] = {"__name__": "planted"}
    with watching_locks(1, package="planted") as watch:
        exec(compile(PLANTED, planted, "exec"), names)
        exec(f"bank, account = Bank(), Account(); {does}", names)
    faults = watch.faults()
    if found is None:
        assert faults == []
    else:
        assert any(fault.startswith(found) for fault in faults), faults


def test_a_thread_that_never_ends_sets_off_the_alarm(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    stuck = threading.Event()
    monkeypatch.setattr(Hunt, "_ask", lambda *_: stuck.wait(200))
    monkeypatch.setitem(globals(), "ALARM_S", 0.3)
    monkeypatch.setitem(globals(), "END_S", 0.3)
    try:
        with pytest.raises(AssertionError, match=r"no call ends|go on after the end"):
            one_mount(world, config(world, Path(), inflate_workers=0, disk=False), random.Random(1), seed=1)
    finally:
        stuck.set()


def test_watched_locks_are_those_of_hubfs_alone(watch_of_a_lock: Watch) -> None:
    assert watch_of_a_lock.acquisitions == 0


@pytest.fixture
def watch_of_a_lock() -> Iterator[Watch]:
    with watching_locks(1) as watch, threading.Lock():
        yield watch
