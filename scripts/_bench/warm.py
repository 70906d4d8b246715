"""Warm scenarios: the page cache, the disk cache after a remount, and single files."""

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from scripts._bench import peers
from scripts._bench.measure import Failed, program, reader
from scripts._bench.models import Model
from scripts._bench.peers import Peer, Ready, hubfs_mount
from scripts._bench.report import Sample
from scripts._bench.scenarios import FAR, HUBFS, LOCAL, RCLONE, Scenario, Series, bound, ratio
from scripts._bench.shaping import UNSHAPED, Link
from scripts._bench.world import World
from tests.support.mount import Mount, eventually

GRAPH = "saved_model.pb"

SPAN_BYTES = 4 << 20
"""About what the distance of two checkpoints is, compressed."""

STRETCHED = Link(0.5, FAR.connection_bytes_per_s)
"""The far link with a latency beside which nothing else counts: how often it passes can be read off a watch."""

NO_PREFETCH = "hubfs --prefetch none"

_DROP_CACHES = Path("/proc/sys/vm/drop_caches")
_COMPLETE_S = 120


def drop_page_cache() -> None:
    """The kernel forgets every clean page; needs root."""
    os.sync()
    _DROP_CACHES.write_text("3", encoding="ascii")


def prefetching(options: str) -> dict[str, tuple[str, ...]]:
    """Hubfs as it comes; and, if it has the option, without speculation."""
    found: dict[str, tuple[str, ...]] = {HUBFS: ()}
    if "--prefetch" in options:
        found[NO_PREFETCH] = ("--prefetch", "none")
    return found


def touched(world: World, peer: Peer, link: Link) -> Sample:
    """The first read of saved_model.pb, through a peer that is up: its seconds."""
    with world.fresh(link) as work, peer(world.hosts, world.large, work) as ready:
        return world.timed_read(ready, world.large, work, names=[GRAPH])


def round_trips(world: World, peer: Peer) -> Sample:
    """How many latencies the first read of saved_model.pb takes."""
    sample = touched(world, peer, STRETCHED)
    more = {**sample.more, "took_s": sample.value}
    trips = sample.value // STRETCHED.latency_s
    return Sample(trips, sample.sent_bytes, sample.requests, sample.cpu_s, sample.peak_rss_bytes, more)


def first_touch(world: World, *, trips: bool) -> Mapping[str, Series]:
    """Cold, uncompressed, far away: saved_model.pb only."""
    taking_part = {
        **{
            name: (HUBFS, peers.hubfs("uncompressed", *options)) for name, options in prefetching(world.options).items()
        },
        RCLONE: (RCLONE, peers.rclone()),
    }

    def series(who: str, peer: Peer) -> Series:
        return Series(who, lambda: round_trips(world, peer) if trips else touched(world, peer, FAR))

    return {name: series(who, peer) for name, (who, peer) in taking_part.items()}


@contextlib.contextmanager
def filled_cache(world: World, form: str) -> Iterator[Path]:
    """A directory in which `hubfs_mount` finds all of the large model cached."""
    with world.fresh(UNSHAPED) as work:
        with hubfs_mount(world.hosts, work, form) as mount, program(work, reader()) as started:
            started.wait_until_ready()
            where = mount.path / world.large.handle
            world.check_read(world.large, world.large.files, started.run(path=str(where), names=world.large.files))
            if not eventually(lambda: is_complete(mount), _COMPLETE_S):
                raise Failed("the model that was read to its end is not complete")
        yield work


def is_complete(mount: Mount) -> bool:
    """Everything that was read is known and verified."""
    known = mount.status()["models"]
    return bool(known) and all(model.get("complete") for model in known)


@contextlib.contextmanager
def evicted(world: World) -> Iterator[Mapping[str, Series]]:
    """Everything but the index was evicted from the cache: saved_model.pb of the archive."""
    with filled_cache(world, "compressed") as kept:

        def measure(options: tuple[str, ...]) -> Sample:
            with world.fresh(UNSHAPED) as work:
                shutil.copytree(kept / "cache", work / "cache", ignore=shutil.ignore_patterns("data", "blocks"))
                with hubfs_mount(world.hosts, work, "compressed", *options) as mount:
                    ready = Ready(lambda: str(mount.path / world.large.handle), pids=mount.pids)
                    sample = world.timed_read(ready, world.large, work, names=[GRAPH])
                    more = {**sample.more, "took_s": sample.value, "settled_bytes": world.settled_bytes()}
            spans = (sample.sent_bytes or 0) / SPAN_BYTES
            return Sample(spans, sample.sent_bytes, sample.requests, sample.cpu_s, sample.peak_rss_bytes, more)

        yield {
            name: Series(HUBFS, lambda options=options: measure(options))  # type: ignore[misc]
            for name, options in prefetching(world.options).items()
        }


def throughput(sample: Sample, size_bytes: int) -> Sample:
    """MB/s in the place of seconds."""
    return Sample(
        size_bytes / 1e6 / sample.value,
        sample.sent_bytes,
        sample.requests,
        sample.cpu_s,
        sample.peak_rss_bytes,
        {**sample.more, "took_s": sample.value},
    )


@contextlib.contextmanager
def page_cache(world: World) -> Iterator[Mapping[str, Series]]:
    """Every file was just read, by either."""
    model = world.large
    with filled_cache(world, "uncompressed") as work, hubfs_mount(world.hosts, work, "uncompressed") as mount:

        def measure(path: Path) -> Sample:
            ready = Ready(lambda: str(path))
            with world.fresh(UNSHAPED) as place:
                world.timed_read(ready, model, place, names=model.files)
                return throughput(world.timed_read(ready, model, place, names=model.files), model.size_bytes)

        yield {
            HUBFS: Series(HUBFS, lambda: measure(mount.path / model.handle)),
            LOCAL: Series(LOCAL, lambda: measure(model.directory)),
        }


@contextlib.contextmanager
def remounted(world: World, *, how: str) -> Iterator[Mapping[str, Series]]:
    """The disk has all of it, the page cache nothing: everybody reads from the disk. `how`: read, mmap or load."""
    model = world.large
    with filled_cache(world, "uncompressed") as work:

        def measure(ready: Ready, place: Path) -> Sample:
            # The pages go when the program is ready to read: what it imported before stays mapped.
            def deliver() -> str:
                drop_page_cache()
                return ready.deliver()

            cold = Ready(deliver, pids=ready.pids)
            if how == "load":
                return without_delivery(world.timed_load(cold, model, place))
            timed = world.timed_read(cold, model, place, names=model.files, mapped=how == "mmap")
            read = without_delivery(timed)
            return throughput(read, model.size_bytes)

        def by_hubfs() -> Sample:
            with world.fresh(UNSHAPED) as place, hubfs_mount(world.hosts, work, "uncompressed") as mount:
                return measure(Ready(lambda: str(mount.path / model.handle), pids=mount.pids), place)

        def by_disk() -> Sample:
            with world.fresh(UNSHAPED) as place:
                return measure(Ready(lambda: str(model.directory)), place)

        yield {HUBFS: Series(HUBFS, by_hubfs), LOCAL: Series(LOCAL, by_disk)}


def without_delivery(sample: Sample) -> Sample:
    """Only what the program took: dropping the page cache is not anybody's work."""
    took_s = sample.more["took_s"]
    return Sample(took_s, sample.sent_bytes, sample.requests, sample.cpu_s, sample.peak_rss_bytes, sample.more)


def warm_scenarios(large: Model, options: str) -> list[Scenario]:
    """Of the large model; `options` is the help text of `hubfs mount`."""
    name = large.name
    # Held without speculation, where that can be had: what is fetched ahead is another matter.
    judged = list(prefetching(options))[-1]
    return [
        Scenario(
            "first-touch",
            f"first touch of saved_model.pb, uncompressed, 20 ms and 400 Mbit/s per connection ({name})",
            "s",
            lambda world: contextlib.nullcontext(first_touch(world, trips=False)),
            [],
            RCLONE,
        ),
        Scenario(
            "first-touch-round-trips",
            f"first touch of saved_model.pb, uncompressed ({name})",
            "round trips",
            lambda world: contextlib.nullcontext(first_touch(world, trips=True)),
            [bound("at most 5 round trips", HUBFS, 5)],
            RCLONE,
        ),
        Scenario(
            "first-touch-evicted",
            f"saved_model.pb from the archive after eviction, index kept ({name})",
            "spans of 4 MiB",
            evicted,
            [bound("at most 2 spans (of 4 MiB)", judged, 2)],
            "",
        ),
        Scenario(
            "warm-read",
            f"warm, page cache: read every file ({name})",
            "MB/s",
            page_cache,
            [ratio("at least 0.95 of the local directory", HUBFS, LOCAL, 0.95, at_least=True)],
            more_is_better=True,
        ),
        Scenario(
            "remount-read",
            f"warm, after remount with dropped page cache: read every file ({name})",
            "MB/s",
            lambda world: remounted(world, how="read"),
            [ratio("at least 0.90 of the local directory", HUBFS, LOCAL, 0.90, at_least=True)],
            more_is_better=True,
            needs_root=True,
        ),
        Scenario(
            "remount-mmap",
            f"warm, after remount with dropped page cache: touch every page of a mapping of every file ({name})",
            "MB/s",
            lambda world: remounted(world, how="mmap"),
            [ratio("at least 0.85 of the local directory", HUBFS, LOCAL, 0.85, at_least=True)],
            more_is_better=True,
            needs_root=True,
        ),
        Scenario(
            "remount-load",
            f"warm, after remount with dropped page cache: load ({name})",
            "s",
            lambda world: remounted(world, how="load"),
            [ratio("at most 1.05 of a local load", HUBFS, LOCAL, 1.05)],
            needs_root=True,
        ),
    ]
