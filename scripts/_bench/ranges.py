"""Ranges of cold files through fsspec: by hubfs, and by the file systems that the hubs' own libraries bring."""

import contextlib
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scripts._bench.hosts import BUCKET
from scripts._bench.huggingface import NAME, Hub, client_environment, hub
from scripts._bench.measure import program, range_reader
from scripts._bench.models import Model
from scripts._bench.peers import Ready
from scripts._bench.report import Sample
from scripts._bench.scenarios import FAR, GCSFS, HF_FILE_SYSTEM, HUBFS, Scenario, Series, ratio
from scripts._bench.shaping import Link
from scripts._bench.world import World, WrongBytes

COUNT, SIZE_BYTES = 100, 64 << 10
"""So many ranges of that size, which lie as far apart as the files let them."""


@dataclass(frozen=True)
class FileSystem:
    """A file system of fsspec, as a program makes it; `root` is what the paths of files begin with."""

    protocol: str
    root: str
    environment: Mapping[str, str]
    options: Mapping[str, Any] = field(default_factory=dict)


def spread(files: Sequence[Path]) -> list[tuple[Path, int]]:
    """Files and offsets: as many of each file."""
    found = []
    for number in range(COUNT):
        file = files[number * len(files) // COUNT]
        share = -(-COUNT // len(files))
        found.append((file, (file.stat().st_size - SIZE_BYTES) * (number % share) // share))
    return found


def cold(world: World, files: Sequence[Path], system: FileSystem, link: Link) -> Sample:
    """From the order to the last byte, by a process that has asked nobody yet. Raises `WrongBytes`."""
    ranges = spread(files)
    starts = [start for _, start in ranges]
    ends = [start + SIZE_BYTES for start in starts]
    paths = [f"{system.root}/{file.name}" for file, _ in ranges]
    with world.fresh(link) as work:
        # As for a user who has neither a cache nor settings.
        environment = {**system.environment, "HOME": str(work), "XDG_CACHE_HOME": str(work / "cache")}
        with program(work, range_reader(system.protocol), environment=environment, name="ranges") as started:
            started.wait_until_ready()
            nothing = Ready(str)
            before_s = world.begin(nothing)
            said = started.run(options=dict(system.options), paths=paths, starts=starts, ends=ends)
            sample = world.sample(nothing, said["took_s"], before_s)
    wanted = b"".join(_bytes_at(file, start) for file, start in ranges)
    if (said["bytes"], said["digest"]) != (len(wanted), f"{zlib.crc32(wanted):08x}"):
        raise WrongBytes(f"{system.protocol}: the ranges hold other bytes than the files")
    return sample


def _bytes_at(file: Path, start: int) -> bytes:
    with file.open("rb") as opened:
        opened.seek(start)
        return opened.read(SIZE_BYTES)


def of_huggingface(served: Hub, link: Link) -> Mapping[str, Series]:
    """The shards at the Hugging Face Hub."""
    files = [served.directory / shard for shard in sorted(served.cdn_paths)]
    client = client_environment(served)
    taking_part = {
        HUBFS: FileSystem("hubfs", f"hf:{NAME}", client),
        HF_FILE_SYSTEM: FileSystem("hf", NAME, client),
    }
    return {
        name: Series(name, lambda system=system: cold(served.world, files, system, link))  # type: ignore[misc]
        for name, system in taking_part.items()
    }


def of_bucket(world: World, model: Model, link: Link) -> Mapping[str, Series]:
    """The largest file of a model in a bucket."""
    largest = max((model.directory / name for name in model.files), key=lambda path: path.stat().st_size)
    folder = largest.parent.relative_to(model.directory)
    store = {"STORAGE_EMULATOR_HOST": world.hosts.store_url}
    # gcsfs asks Google by gRPC what kind of bucket it is otherwise, which no emulator answers.
    plain = {"GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false"}
    inside = f"{model.handle}/{folder}".removesuffix("/.")
    taking_part = {
        HUBFS: FileSystem("hubfs", inside, store, {"hub": f"gs://{BUCKET}"}),
        GCSFS: FileSystem("gs", f"{BUCKET}/{inside}", {**store, **plain}, {"token": "anon"}),
    }
    return {
        name: Series(name, lambda system=system: cold(world, [largest], system, link))  # type: ignore[misc]
        for name, system in taking_part.items()
    }


def range_scenarios(large: Model, shards_bytes: int) -> Sequence[Scenario]:
    """Of shards with so many bytes together, and of the model in the bucket."""

    @contextlib.contextmanager
    def at_huggingface(world: World) -> Iterator[Mapping[str, Series]]:
        with hub(world, shards_bytes) as served:
            yield of_huggingface(served, FAR)

    what = f"{COUNT} ranges of {SIZE_BYTES >> 10} KiB by cat_ranges"
    return [
        Scenario(
            "huggingface-ranges",
            f"cold, Hugging Face, 20 ms and 400 Mbit/s per connection: {what}",
            "s",
            at_huggingface,
            [ratio("at most 1.00 of HfFileSystem", HUBFS, HF_FILE_SYSTEM, 1.0)],
            HF_FILE_SYSTEM,
        ),
        Scenario(
            "bucket-ranges",
            f"cold, a bucket, 20 ms and 400 Mbit/s per connection: {what}",
            "s",
            lambda world: contextlib.nullcontext(of_bucket(world, large, FAR)),
            [ratio("at most 1.00 of gcsfs", HUBFS, GCSFS, 1.0)],
            GCSFS,
        ),
    ]
