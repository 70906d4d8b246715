"""What is compared: each scenario says who takes part, what is measured, and what it must show."""

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from scripts._bench import peers
from scripts._bench.measure import seconds
from scripts._bench.models import Model
from scripts._bench.peers import Peer
from scripts._bench.report import Medians, Sample, Target
from scripts._bench.shaping import UNSHAPED, Link
from scripts._bench.world import World

MEGABIT_BYTES = 1_000_000 / 8

GIGABIT = Link(0.020, total_bytes_per_s=1000 * MEGABIT_BYTES)
FAR = Link(0.020, connection_bytes_per_s=400 * MEGABIT_BYTES)

HUBFS, LOCAL, TFHUB, CURL, RCLONE, RATARMOUNT = "hubfs", "local", "tensorflow_hub", "curl", "rclone", "ratarmount"
KAGGLEHUB, SNAPSHOT, HF_FILE_SYSTEM, GCSFS = "kagglehub", "snapshot_download", "HfFileSystem", "gcsfs"
PEERS = (HUBFS, TFHUB, KAGGLEHUB, SNAPSHOT, HF_FILE_SYSTEM, GCSFS, CURL, RATARMOUNT, RCLONE, LOCAL)

PUBLISHED = "hubfs, index published"
ONE_WORKER, TWO_WORKERS = "hubfs, 1 inflate worker", "hubfs, 2 inflate workers"
RESOLVE, TAR, BARE = "tensorflow_hub (resolve)", "curl | tar", "curl (bare transfer)"
RCLONE_STREAMS = "rclone, 16 streams"

Measure = Callable[[], Sample]


@dataclass(frozen=True)
class Series:
    """What one bar shows: who is measured, and how. Called once a run."""

    peer: str
    measure: Measure


@dataclass(frozen=True)
class Scenario:
    """`enter` makes what its runs share, and gives the series by name, in the order in which they take turns."""

    name: str
    title: str
    unit: str
    enter: Callable[[World], AbstractContextManager[Mapping[str, Series]]]
    targets: Sequence[Target]
    reference: str = LOCAL
    more_is_better: bool = False
    needs_root: bool = False


def ratio(text: str, of: str, to: str, limit: float, *, at_least: bool = False) -> Target:
    """The medians of two series."""
    return Target(text, lambda medians: medians[of] / medians[to], limit, at_least)


def bound(text: str, of: str, limit: float, *, at_least: bool = False) -> Target:
    """The median of one series itself."""
    return Target(text, lambda medians: medians[of], limit, at_least)


def inflating(world: World, form: str) -> dict[str, Peer]:
    """Hubfs as it comes, with a worker for each processor; and, if it has the option, with one and with two."""
    found = {HUBFS: peers.hubfs(form)}
    if "--inflate-workers" in world.options:
        for workers, name in ((1, ONE_WORKER), (2, TWO_WORKERS)):
            if workers != len(os.sched_getaffinity(0)):
                found[name] = peers.hubfs(form, "--inflate-workers", str(workers))
    return found


def loads(world: World, model: Model, link: Link, taking_part: Mapping[str, Peer]) -> dict[str, Series]:
    """A cold load by each peer."""
    return {
        name: Series(peer_of(name), lambda peer=peer: world.load(peer, model, link))  # type: ignore[misc]
        for name, peer in taking_part.items()
    }


def peer_of(series: str) -> str:
    """The first word of a series says whose it is."""
    return series.split(" ", 1)[0].rstrip(",")


def archive_read(world: World, model: Model) -> dict[str, Series]:
    """Cold, compressed, unshaped: every file."""
    taking_part = {
        **inflating(world, "compressed"),
        PUBLISHED: peers.hubfs_published,
        RESOLVE: peers.tensorflow_hub("resolve"),
        TAR: peers.curl_tar,
        RATARMOUNT: peers.ratarmount,
        LOCAL: peers.local,
    }
    series = {
        name: Series(peer_of(name), lambda peer=peer: world.read(peer, model, UNSHAPED))  # type: ignore[misc]
        for name, peer in taking_part.items()
    }
    listed = Series(HUBFS, lambda: world.read(peers.hubfs("compressed"), model, UNSHAPED, listing=True))
    return {**series, "hubfs, listing first": listed}


def archive_load(world: World, model: Model) -> dict[str, Series]:
    """Cold, compressed, unshaped: by TensorFlow."""
    taking_part = {
        **inflating(world, "compressed"),
        PUBLISHED: peers.hubfs_published,
        TFHUB: peers.tensorflow_hub("hub"),
        TAR: peers.curl_tar,
        RATARMOUNT: peers.ratarmount,
        LOCAL: peers.local,
    }
    return loads(world, model, UNSHAPED, taking_part)


def archive_load_far(world: World, model: Model) -> dict[str, Series]:
    """Cold, compressed, 1 Gbit/s."""
    taking_part = {
        HUBFS: peers.hubfs("compressed"),
        PUBLISHED: peers.hubfs_published,
        TFHUB: peers.tensorflow_hub("hub"),
        TAR: peers.curl_tar,
        LOCAL: peers.local,
    }
    bare = Series(CURL, lambda: bare_transfer(world, model, GIGABIT))
    return {**loads(world, model, GIGABIT, taking_part), BARE: bare}


def bare_transfer(world: World, model: Model, link: Link) -> Sample:
    """What the link takes for the archive."""
    with world.fresh(link) as work, peers.curl(world.hosts, model, work) as ready:
        before_s = world.begin(ready)
        return world.sample(ready, seconds(ready.deliver), before_s)


def bucket_load(world: World, model: Model) -> dict[str, Series]:
    """Cold, uncompressed, far away."""
    streams = ("--vfs-read-chunk-streams", "16", "--vfs-read-chunk-size", "4M")
    taking_part = {
        HUBFS: peers.hubfs("uncompressed"),
        RCLONE: peers.rclone(),
        RCLONE_STREAMS: peers.rclone(*streams),
        LOCAL: peers.local,
    }
    return loads(world, model, FAR, taking_part)


def kaggle_load(world: World, model: Model) -> dict[str, Series]:
    """Cold, a model of Kaggle, far away."""
    taking_part = {HUBFS: peers.hubfs_of_kaggle, KAGGLEHUB: peers.kagglehub, LOCAL: peers.local}
    return loads(world, model, FAR, taking_part)


def cold_scenarios(models: Sequence[Model]) -> list[Scenario]:
    """For each model."""

    def entering(
        series: Callable[[World, Model], dict[str, Series]], model: Model
    ) -> Callable[[World], AbstractContextManager[Mapping[str, Series]]]:
        return lambda world: nullcontext(series(world, model))

    scenarios = []
    for model in models:
        name = model.name.lower().replace(" ", "-")
        scenarios += [
            Scenario(
                f"archive-read-{name}",
                f"cold, compressed, unshaped: read every file ({model.name})",
                "s",
                entering(archive_read, model),
                [ratio("at most 0.45 of tensorflow_hub's resolve", HUBFS, RESOLVE, 0.45)],
                RESOLVE,
            ),
            Scenario(
                f"archive-load-{name}",
                f"cold, compressed, unshaped: load ({model.name})",
                "s",
                entering(archive_load, model),
                [ratio("at most 0.55 of tensorflow_hub", HUBFS, TFHUB, 0.55)],
                TFHUB,
            ),
            Scenario(
                f"archive-load-gigabit-{name}",
                f"cold, compressed, 1 Gbit/s and 20 ms: load ({model.name})",
                "s",
                entering(archive_load_far, model),
                [Target("at most 1.10 of (bare transfer + local load)", _of_transfer_and_load, 1.10)],
                TFHUB,
            ),
            Scenario(
                f"bucket-load-{name}",
                f"cold, uncompressed, 20 ms and 400 Mbit/s per connection: load ({model.name})",
                "s",
                entering(bucket_load, model),
                [
                    ratio("at most 0.20 of rclone mount with full cache", HUBFS, RCLONE, 0.20),
                    ratio("at most 1.05 of a local load", HUBFS, LOCAL, 1.05),
                ],
                LOCAL,
            ),
            Scenario(
                f"kaggle-load-{name}",
                f"cold, Kaggle, 20 ms and 400 Mbit/s per connection: load ({model.name})",
                "s",
                entering(kaggle_load, model),
                [
                    ratio("at most 0.50 of kagglehub's model_download and a load", HUBFS, KAGGLEHUB, 0.50),
                    ratio("at most 1.30 of a local load", HUBFS, LOCAL, 1.30),
                ],
                KAGGLEHUB,
            ),
        ]
    return scenarios


def _of_transfer_and_load(medians: Medians) -> float:
    return medians[HUBFS] / (medians[BARE] + medians[LOCAL])
