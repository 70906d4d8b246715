"""Sixty-four readers, for as long as there is time: every byte right, no error, no stall, and nothing that grows."""

import os
import random
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import MountHub
from tests.support.figures import Figures, budget
from tests.support.gcs_server import Fault
from tests.support.models import pack
from tests.support.mount import Mount
from tests.support.origin import Origin, running_origin
from tests.support.soak import Evictions, Readers, SoakFile, Taken, build, dump, make_model, open_by, reading, taken_by
from tests.support.waiting import eventually

pytestmark = [pytest.mark.mounted, pytest.mark.timeout(0)]  # it ends by itself: its calls have a bound

MIB = 1 << 20
READERS = 64
PAUSE_MS = 60
"""Between two things that a reader does, on average: two processors are busy, not buried."""

DATA_MIB = (2, 9, 24, 40)
"""Of the models, four in archives and four in a bucket: 150 MiB in all."""

AT_A_TIME = 5
"""Of the eight models so many are read at a time; the others may be evicted."""

SETTLED_S = 100.0
"""Threads and caches fill in the first half minute; a run that is too short for that says nothing of growth."""

STALL_S = 20.0
"""No call takes longer, on a busy machine, too. Nothing is slow here but the machine."""


@dataclass(frozen=True)
class World:
    """The servers, and the files by their paths below a mount."""

    origin: Origin
    program: Path
    files: list[SoakFile]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    program = build(tmp_path / "soak_reader")
    models, archives, files = {}, {}, []
    for number, data_mib in enumerate(DATA_MIB * 2):
        handle = f"soak/model{number}/1"
        root = tmp_path / "models" / handle
        made = make_model(program, root, number, data_mib * MIB + 4321 * number)
        files += [SoakFile(file.model, file.seed, file.size_bytes, f"{handle}/{file.path}") for file in made]
        if number < len(DATA_MIB):
            archives[handle] = pack(root, tmp_path / "archives" / f"{number}.tar.gz")
        else:
            models[handle] = root
    with running_origin(tmp_path / "origin", models, archives) as origin:
        yield World(origin, program, files)


@contextmanager
def readers_of(world: World, hub: Mount, home: Path) -> Iterator[Readers]:
    files = [SoakFile(file.model, file.seed, file.size_bytes, str(hub.path / file.path)) for file in world.files]
    readers = Readers(world.program, home, files, count=READERS, pause_ms=PAUSE_MS)
    readers.may_read(range(AT_A_TIME))
    with reading(readers):
        yield readers


def test_soak(mount: MountHub, world: World, figures: Figures, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    chance = random.Random(2)
    samples: list[tuple[float, Taken]] = []
    evictions = Evictions(cache)
    soak_s = budget("soak_s", boxed=120, full=300)
    with mount(world.origin, "--cache-dir", cache, "--cache-size", "100MiB", "--memory-size", "32MiB") as hub:
        (daemon,) = hub.pids()
        idle = taken_by(daemon)
        began_s = time.monotonic()
        with readers_of(world, hub, tmp_path) as readers:
            while time.monotonic() - began_s < soak_s:
                time.sleep(1)
                samples.append((time.monotonic() - began_s, taken_by(daemon)))
                evictions.look()
                readers.kill_one()
                if len(samples) % 5 == 0:
                    readers.may_read(chance.sample(range(2 * len(DATA_MIB)), AT_A_TIME))
                if os.environ.get("HUBFS_SOAK_FAULTS"):
                    world.origin.store.spoil(Fault(status=503), Fault(cut_after_bytes=chance.randrange(MIB)))
                counted = readers.counted()
                assert not counted.failure, f"{counted.failure}\n{hub.log()[-10_000:]}"
                assert not readers.ended(), f"readers ended with {readers.ended()}"
                stalled = f"{counted.call}: under way for {counted.under_way_s:.1f} s"
                assert counted.under_way_s < STALL_S, f"{stalled}\n{dump(daemon, hub.log())}"
            counted = readers.counted()
        at_rest = eventually(lambda: taken_by(daemon).fds <= idle.fds + 64)  # connections that are kept
        rest = taken_by(daemon)
        left = f"after the last reader {rest}, before the first {idle}: {open_by(daemon)}"

    quarter = len(samples) // 4
    settled, last = samples[quarter : 2 * quarter], samples[-quarter:]
    figures.note(
        "soak",
        seconds=round(soak_s),
        operations=counted.calls,
        gib=counted.bytes / (1 << 30),
        p50_ms=counted.quantile_ms(0.5),
        p99_ms=counted.quantile_ms(0.99),
        p100_s=counted.longest_s,
        rss_start_mb=median(settled, "rss_mb"),
        rss_end_mb=median(last, "rss_mb"),
        fds_start=median(settled, "fds"),
        fds_end=median(last, "fds"),
        fds_at_rest=rest.fds,
        threads_start=median(settled, "threads"),
        threads_end=median(last, "threads"),
        readers_killed=readers.killed,
        evictions=evictions.count,
        errors_or_wrong_bytes=len(counted.failure.split("; ")) if counted.failure else 0,
        samples=[[round(at_s, 1), round(taken.rss_mb, 1), taken.fds, taken.threads] for at_s, taken in samples],
    )
    assert not counted.failure, counted.failure
    assert at_rest, left
    assert counted.longest_s < STALL_S, counted.longest
    assert evictions.count > 0, "the cache was large enough: nothing was evicted"
    assert counted.calls > 100 * soak_s, "the readers hardly read"
    if soak_s < SETTLED_S:
        return
    # Memory follows what is read just now, in phases of up to a minute: what is never given back lifts the peaks.
    early, late = samples[quarter : 5 * quarter // 2], samples[5 * quarter // 2 :]
    assert peak_mb(late) < peak_mb(early) * 1.15, "memory grows"
    assert median(last, "fds") < median(settled, "fds") * 1.2 + 20, "descriptors leak"
    # Threads come for a moment where many wait: one that stays is there when the fewest are, too.
    assert fewest_threads(last) < fewest_threads(settled) + 10, "threads leak"


def peak_mb(samples: list[tuple[float, Taken]]) -> float:
    return max(taken.rss_mb for _, taken in samples)


def fewest_threads(samples: list[tuple[float, Taken]]) -> int:
    return min(taken.threads for _, taken in samples)


def median(samples: list[tuple[float, Taken]], what: str) -> float:
    return statistics.median(getattr(taken, what) for _, taken in samples)
