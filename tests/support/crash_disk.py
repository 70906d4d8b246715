"""A model of what a disk holds after a power cut: the steps of a disk tier, any of them lost, torn or reordered.

Nothing is synced by the tier, so nothing is certain: of a file, each sector of 512 bytes holds any of the writes to it,
or zeros; its size is any that it ever had, or less; a name leads to any file that it ever led to, or to none.
"""

import os
import random
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest import mock

from hubfs.cache.block_cache import CacheKey
from hubfs.cache.disk.indexes import Index, IndexStore
from hubfs.cache.disk.latest import LastAnswer, LatestStore
from hubfs.cache.disk.layout import CacheLayout
from hubfs.cache.disk.room import DiskSettings
from hubfs.cache.disk.store import DiskStore
from hubfs.cache.disk.tier import DiskTier

_SECTOR_BYTES = 512
_LIMIT_BYTES = 1 << 30
_NEVER_WRITTEN = 2
_LIKELY = 0.8
"""Of each file and name: that nothing special happened to it."""

Inode = int


@dataclass(frozen=True)
class Make:
    """A name was given to a new file."""

    path: str
    inode: Inode


@dataclass(frozen=True)
class Write:
    """Bytes went into a file."""

    inode: Inode
    offset_bytes: int
    data: bytes = field(repr=False)


@dataclass(frozen=True)
class Cut:
    """A file was truncated."""

    inode: Inode
    size_bytes: int


@dataclass(frozen=True)
class Rename:
    """A file, or a directory with all that is in it, got another name."""

    old: str
    new: str


Step = Make | Write | Cut | Rename


@dataclass
class Recorded:
    """What was done, and what must come of it: `blocks` and `indexes` are right, everything else is wrong."""

    steps: list[Step]
    blocks: dict[tuple[CacheKey, int], bytes]
    indexes: dict[str, list[Index]]
    files: dict[str, bytes]
    answers: dict[tuple[str, str], list[LastAnswer]]

    @property
    def kept(self) -> int:
        """How many answers there are, if nothing is lost."""
        return len(self.blocks) + len(self.indexes) + len(self.files) + len(self.answers)


@dataclass
class Found:
    """How a cache answered."""

    right: int = 0
    missing: int = 0
    wrong: int = 0

    def count(self, answer: object, *expected: object) -> None:
        """One answer."""
        if answer is None:
            self.missing += 1
        elif answer in expected:
            self.right += 1
        else:
            self.wrong += 1


HANDLES = ("hub/a/model/1", "hub/a/model/2", "hub/b/deep/name/1")
MODELS = ("hub/a/model/1@old", "hub/a/model/1@new", "hub/a/model/2@x", "hub/b/deep/name/1@x")
PATHS = ("saved_model.pb", "variables/data", "variables/index")
NAMES = (("hub", "a/model"), ("hub", "b/deep/name"), ("other", "a/model"))


def _tier(root: Path) -> DiskTier:
    cache = DiskTier(DiskStore(CacheLayout(root)), DiskSettings(_LIMIT_BYTES, reserve_bytes=0))
    cache.start()
    return cache


def record(root: Path) -> Recorded:
    """Has a real tier do what tiers do, and writes down every step that the disk was asked for."""
    noise = random.Random(11)
    blocks = {
        (CacheKey(model, path), index): noise.randbytes(noise.choice((1, 500, 512, 1500, 4096, 5000)))
        for model in MODELS
        for path in PATHS
        for index in (0, 1, 3)
    }
    indexes: dict[str, list[Index]] = defaultdict(list)
    for model in MODELS:
        handle = model.partition("@")[0]
        indexes[handle].append({"model": model, "entries": [[path, noise.random()] for path in PATHS * 8]})
    files = {model: noise.randbytes(1234) for model in MODELS}
    answers = {name: [LastAnswer(str(noise.randrange(99)), 1e9 + noise.random()) for _ in range(3)] for name in NAMES}
    steps: list[Step] = []
    with _recording(steps, root):
        cache, store = _tier(root), IndexStore(CacheLayout(root))

        def keep(model: str) -> None:
            release = cache.hold(model)
            for (key, index), block in blocks.items():
                if key.model == model:
                    assert cache.put(key, index, block)
            for index_of_model in indexes[model.partition("@")[0]]:
                if index_of_model["model"] == model:
                    store.save(model, index_of_model)
            store.save_file(model, files[model])
            release()

        first = CacheLayout(root).blocks(CacheKey(MODELS[0], PATHS[0]))
        first.parent.mkdir(parents=True)
        fd = os.open(first, os.O_WRONLY | os.O_CREAT, 0o600)
        os.pwrite(fd, b"a map of another format, which is begun anew", 0)
        os.close(fd)
        for model in MODELS:
            keep(model)
        cache.drop(MODELS[2])
        keep(MODELS[2])
        for (hub, name), told in answers.items():
            for answer in told:
                LatestStore(CacheLayout(root), hub).save(name, answer)
        indexes[HANDLES[0]].append({"model": MODELS[0], "entries": []})
        keep(MODELS[0])
        keep(MODELS[1])
    return Recorded(steps, blocks, dict(indexes), files, answers)


@contextmanager
def _recording(steps: list[Step], root: Path) -> Iterator[None]:
    real_open, real_pwrite, real_cut = os.open, os.pwrite, os.ftruncate
    real_rename, real_replace = os.rename, os.replace
    numbers: dict[int, Inode] = {}  # a file system gives the number of a file that was deleted to another

    def inode(fd: int) -> Inode:
        return numbers[os.fstat(fd).st_ino]

    def short(path: object) -> str:
        return str(Path(str(path)).relative_to(root))

    def opened(path: Any, flags: int, mode: int = 0o777, **more: Any) -> int:
        new = flags & os.O_CREAT and not os.path.lexists(path)
        fd = real_open(path, flags, mode, **more)
        if new:
            number = numbers[os.fstat(fd).st_ino] = len(steps)
            steps.append(Make(short(path), number))
        return fd

    def written(fd: int, data: bytes, offset_bytes: int) -> int:
        steps.append(Write(inode(fd), offset_bytes, bytes(data)))
        return real_pwrite(fd, data, offset_bytes)

    def truncated(fd: int, size_bytes: int) -> None:
        steps.append(Cut(inode(fd), size_bytes))
        real_cut(fd, size_bytes)

    def recorded(real: Callable[[Any, Any], None]) -> Callable[[Any, Any], None]:
        def rename(old: object, new: object) -> None:
            real(old, new)
            steps.append(Rename(short(old), short(new)))

        return rename

    with (
        mock.patch("os.open", opened),
        mock.patch("os.pwrite", written),
        mock.patch("os.ftruncate", truncated),
        mock.patch("os.rename", recorded(real_rename)),
        mock.patch("os.replace", recorded(real_replace)),
    ):
        yield


def materialise(recorded: Recorded, root: Path, chance: random.Random | None) -> None:
    """Makes what a disk may hold after a power cut at some instant; or, without `chance`, what it holds in the end."""
    steps = recorded.steps if chance is None else recorded.steps[: chance.randint(1, len(recorded.steps))]
    for name, inodes in _names(steps).items():
        inode = inodes[-1] if chance is None or chance.random() < _LIKELY else chance.choice([*inodes, None])
        if inode is None or (chance is None and name.startswith("trash/")):
            continue
        path = root / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write(path, [step for step in steps if isinstance(step, Write | Cut) and step.inode == inode], chance)


def _names(steps: Iterable[Step]) -> dict[str, list[Inode | None]]:
    """Which files each name ever led to, None for no file; the last one is what it leads to in the end."""
    names: dict[str, list[Inode | None]] = {}
    for step in steps:
        if isinstance(step, Make):
            names.setdefault(step.path, []).append(step.inode)
        elif isinstance(step, Rename):
            for name, inodes in list(names.items()):
                if (name == step.old or name.startswith(f"{step.old}/")) and inodes[-1] is not None:
                    names.setdefault(step.new + name.removeprefix(step.old), []).append(inodes[-1])
                    inodes.append(None)
    return names


def _write(path: Path, steps: list[Write | Cut], chance: random.Random | None) -> None:
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        kept = 1.0
        if chance is not None:
            kept = chance.choice((1.0, 1.0, 1.0, 0.9, 0.5))
            if chance.random() < 1 - _LIKELY:
                chance.shuffle(steps)
        for step in steps:
            if isinstance(step, Cut):
                os.ftruncate(fd, step.size_bytes)
            elif chance is None or kept == 1.0:
                os.pwrite(fd, step.data, step.offset_bytes)
            else:
                _write_sectors(fd, step, chance, kept)
        if chance is not None and chance.random() < 1 - _LIKELY:
            size_bytes = os.fstat(fd).st_size
            cut_bytes = chance.randint(0, size_bytes)
            os.ftruncate(fd, cut_bytes - cut_bytes % chance.choice((1, _SECTOR_BYTES)))
            if chance.random() < 0.5:
                os.ftruncate(fd, size_bytes)  # the tail reads as zeros
    finally:
        os.close(fd)


def _write_sectors(fd: int, step: Write, chance: random.Random, kept: float) -> None:
    start_bytes, end_bytes = step.offset_bytes, step.offset_bytes + len(step.data)
    while start_bytes < end_bytes:
        next_bytes = min(end_bytes, (start_bytes // _SECTOR_BYTES + 1) * _SECTOR_BYTES)
        if chance.random() < kept:
            os.pwrite(fd, step.data[start_bytes - step.offset_bytes : next_bytes - step.offset_bytes], start_bytes)
        start_bytes = next_bytes


def check(root: Path, recorded: Recorded) -> Found:
    """Asks a tier that starts on `root` for everything. It raises nothing, whatever lies there."""
    found = Found()
    cache, store = _tier(root), IndexStore(CacheLayout(root))
    releases = [cache.hold(model) for model in MODELS]
    for (key, index), block in recorded.blocks.items():
        cache.has(key, index)
        found.count(cache.get(key, index), block)
        found.wrong += cache.get(key, _NEVER_WRITTEN) is not None
    for handle, indexes in recorded.indexes.items():
        found.count(store.load(handle), *indexes)
    for model, data in recorded.files.items():
        found.count(store.load_file(model), data)
        most_bytes = sum(len(block) for (key, _), block in recorded.blocks.items() if key.model == model)
        found.wrong += (cache.cached_bytes(model) or 0) > most_bytes
    for (hub, name), answers in recorded.answers.items():
        found.count(LatestStore(CacheLayout(root), hub).load(name), *answers)
    list(store.known("hub"))
    cache.stats()
    for release in releases:
        release()
    return found


def heal(root: Path, recorded: Recorded, chance: random.Random) -> None:
    """Everything can be kept again, by a tier that was started on what there is; then the directory goes."""
    cache, store = _tier(root), IndexStore(CacheLayout(root))
    blocks = list(recorded.blocks.items())
    chance.shuffle(blocks)
    for (key, index), block in blocks:
        if cache.get(key, index) is None:
            assert cache.put(key, index, block), (key, index)
    for (key, index), block in blocks:
        if cache.get(key, index) is None:  # what was in the way of another file of the model took this with it
            assert cache.put(key, index, block), (key, index)
    assert all(cache.get(key, index) == block for (key, index), block in blocks)
    for handle, indexes in recorded.indexes.items():
        for index_of_model in indexes:
            store.save(index_of_model["model"], index_of_model)
        assert store.load(handle) in indexes
    for model, data in recorded.files.items():
        store.save_file(model, data)
        assert store.load_file(model) == data
        cache.drop(model)
    assert not any(cache.get(key, index) for (key, index), _ in blocks)
    for (hub, name), answers in recorded.answers.items():
        latest = LatestStore(CacheLayout(root), hub)
        latest.save(name, answers[0])
        assert latest.load(name) == answers[0]
    shutil.rmtree(root)


def _latest_swapped(root: Path, chance: random.Random) -> None:
    found = sorted((root / "latest").rglob("@latest.json"))
    chance.shuffle(found)
    for one, other in pairwise(found):
        _swap(one, other)


def _latest_damaged(root: Path, chance: random.Random) -> None:
    for path in (root / "latest").rglob("@latest.json"):
        data = bytearray(path.read_bytes())
        match chance.randrange(3):
            case 0 if data:
                data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
            case 1:
                data = bytearray(
                    chance.choice((b"1", b"[", b"9" * 5000, b'{"version": "1", "asked_at_s": 1' + b"0" * 400))
                )
            case _:
                data = data[: chance.randrange(len(data) + 1)].ljust(len(data) + 1, b"\0")
        path.write_bytes(data)


def _swap(one: Path, other: Path) -> None:
    beside = one.with_name("swapping")
    one.rename(beside)
    other.rename(one)
    beside.rename(other)


def _models(root: Path, chance: random.Random) -> list[Path]:
    found = sorted((root / "models").rglob("*@*"))
    chance.shuffle(found)
    return found


def _files(root: Path, chance: random.Random, below: str = "") -> list[Path]:
    found = sorted(path for path in (root / "models").rglob("*") if path.is_file() and f"/{below}" in str(path))
    chance.shuffle(found)
    return found


def _models_swapped(root: Path, chance: random.Random) -> None:
    found = _models(root, chance)
    for one, other in zip(found[::2], found[1::2], strict=False):
        _swap(one, other)


def _swapped(below: str) -> Callable[[Path, random.Random], None]:
    def swap(root: Path, chance: random.Random) -> None:
        found = _files(root, chance, below)
        for one, other in zip(found[::2], found[1::2], strict=False):
            _swap(one, other)

    return swap


def _replaced(make: Callable[[Path], object]) -> Callable[[Path, random.Random], None]:
    def replace(root: Path, chance: random.Random) -> None:
        found = _files(root, chance)
        for path in found[: chance.randint(1, 8)]:
            path.unlink()
            make(path)

    return replace


def _symlinks(root: Path, chance: random.Random) -> None:
    """To files and directories of the same cache, as right as any, and to a stranger."""
    stranger = root / "stranger"
    stranger.write_bytes(b"not the cache's")
    found = _files(root, chance)
    count = chance.randint(1, 8)
    for path in found[:count]:
        path.unlink()
        path.symlink_to(chance.choice([stranger, *found[count:], *(file.parent for file in found[count:])]))


def _files_for_directories(root: Path, chance: random.Random) -> None:
    folders = sorted(path for path in (root / "models").rglob("*") if path.is_dir())
    for path in chance.sample(folders, min(2, len(folders))):
        if path.is_dir():
            shutil.rmtree(path)
            path.write_bytes(b"no directory")


def _gone(below: str) -> Callable[[Path, random.Random], None]:
    def remove(root: Path, chance: random.Random) -> None:
        for path in _files(root, chance, below):
            path.unlink()

    return remove


def _of_zeros(root: Path, chance: random.Random) -> None:
    for path in _files(root, chance)[:20]:
        size_bytes = path.stat().st_size
        os.truncate(path, chance.choice((0, size_bytes // 2)))
        os.truncate(path, size_bytes)


def _enormous(root: Path, chance: random.Random) -> None:
    for path in _files(root, chance)[:8]:
        os.truncate(path, 1 << 42)


def _flipped(root: Path, chance: random.Random) -> None:
    for path in _files(root, chance):
        data = bytearray(path.read_bytes()[:70_000])
        if data and path.stat().st_size == len(data):
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
            path.write_bytes(data)


def _of_another_version(root: Path, chance: random.Random) -> None:
    for path in _files(root, chance, "blocks/"):
        with path.open("r+b") as file:
            file.seek(8)
            file.write(chance.choice((1, 3)).to_bytes(4, "little"))
    for path in _files(root, chance, "index.json"):
        path.write_bytes(path.read_bytes().replace(b'"version": 2', chance.choice((b'"version": 1', b'"version": 3'))))
    (root / "models/hub/journal").mkdir(parents=True, exist_ok=True)
    (root / "layout-9.db").write_bytes(b"what a later version keeps")


_DAMAGES: dict[str, Callable[[Path, random.Random], None]] = {
    "models swapped": _models_swapped,
    "maps swapped": _swapped("blocks/"),
    "data swapped": _swapped("data/"),
    "indexes swapped": _swapped("index.json"),
    "archive indexes swapped": _swapped("archive.hubfs-index"),
    "all files swapped": _swapped(""),
    "last answers swapped": _latest_swapped,
    "last answers damaged": _latest_damaged,
    "no maps": _gone("blocks/"),
    "no data": _gone("data/"),
    "no locks": _gone("in-use"),
    "directories for files": _replaced(Path.mkdir),
    "files for directories": _files_for_directories,
    "symlinks": _symlinks,
    "dangling symlinks": _replaced(lambda path: path.symlink_to(path.name)),
    "fifos": _replaced(os.mkfifo),
    "zeros": _of_zeros,
    "flipped bits": _flipped,
    "enormous files": _enormous,
    "another version": _of_another_version,
}
ACCIDENTS = tuple(_DAMAGES)


def damage(root: Path, accident: str, chance: random.Random) -> None:
    """Has one of `ACCIDENTS` happen to a cache directory."""
    _DAMAGES[accident](root, chance)
