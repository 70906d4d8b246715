"""What a loader will want next, told by the file that it opened: pure policy."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

from hubfs.cache.block_cache import BLOCK_SIZE_BYTES
from hubfs.sources.source import Entry, EntryKind

SPECULATION_BYTES = 64 << 20
"""What is fetched because `saved_model.pb` (or `model.json`) was opened, before anything tells that a loader follows.

A reader of that file alone pays at most this. A loader imports the graph for 1 to 2 s before it asks for a variable:
64 MiB is what one connection of 400 Mbit/s brings meanwhile, and most models whole. TensorFlow 2.21's loaders show
themselves within the first tenth of that time, and the rest is fetched then."""

TAIL_BYTES = 512 << 10
"""The end of each data file is read before its start: it holds the object graph, 18 to 135 KB were measured."""

_SHARD = re.compile(r"variables\.data-\d+-of-\d+")
_TFJS_SHARD = re.compile(r".*\.bin|group\d+-shard\d+of\d+")
_DIGITS = re.compile(r"(\d+)")

_OPTIONAL = ("fingerprint.pb", "keras_metadata.pb")
"""What a loader reads after the variables, beside the assets."""

_PEEKING = "saved_model.pbtxt"
_LOADING = ("debug", "saved_model_debug_info.pb")


class Stage(IntEnum):
    """When a want holds: from the opening on, or once a loader showed itself."""

    CERTAIN = 0
    FOLLOWED = 1


class Sign(IntEnum):
    """The sign that a lookup gives of a reader that opened `saved_model.pb`, or is about to.

    LOADING: TensorFlow's loaders look for the debug information right after reading the graph, before they import it.
    PEEKING: `saved_model_cli` does so as well, and reads no variables; but it looks for `saved_model.pbtxt` before
    anything else, which no loader does where there is a `saved_model.pb`.
    """

    PEEKING = 0
    LOADING = 1


@dataclass(frozen=True)
class Want:
    """A range of a file, from a block boundary to another, or to the file's end."""

    path: str
    offset_bytes: int
    size_bytes: int
    stage: Stage

    @property
    def end_bytes(self) -> int:
        """Where it ends."""
        return self.offset_bytes + self.size_bytes

    def between(self, offset_bytes: int, end_bytes: int) -> "Want":
        """A part of it."""
        return Want(self.path, offset_bytes, end_bytes - offset_bytes, self.stage)


def begins(path: str) -> bool:
    """Whether opening `path` tells what will be wanted next.

    Other files do not: what follows in a file that is read from its start is the read-ahead's business.
    """
    return _name(path) in ("saved_model.pb", "model.json")


def follows(opened: str, path: str) -> bool:
    """Whether opening `path`, after `opened`, shows that a loader is at work."""
    folder = _folder(opened)
    if not path.startswith(folder):
        return False
    inner = path.removeprefix(folder)
    if _name(opened) == "model.json":
        return _TFJS_SHARD.fullmatch(inner) is not None
    return inner.startswith("variables/")


def sign_of(path: str) -> Sign | None:
    """What a lookup of `path` tells; the kernel looks for `debug` alone where there is no such directory."""
    name = _name(path)
    if name in _LOADING:
        return Sign.LOADING
    return Sign.PEEKING if name == _PEEKING else None


def plan(entries: Sequence[Entry], opened: str) -> tuple[Want, ...]:
    """What a loader that opened `opened` will want of the model whose entries are `entries`, in its order.

    The file itself; of a SavedModel or TF1 Hub module the index of the variables, the tails of the data files, the
    tensors in the order of their offsets, and the optional files in the order of their places; of a TF.js model the
    shards in order. The wants of stage CERTAIN come first, and are `SPECULATION_BYTES` at most. Empty for a file that
    tells nothing.
    """
    folder = _folder(opened)
    files = {
        entry.path.removeprefix(folder): entry.size_bytes
        for entry in sorted(entries, key=lambda entry: (entry.place, entry.path))
        if entry.kind is EntryKind.FILE and entry.path.startswith(folder)
    }
    name = _name(opened)
    if name not in files or not begins(opened):
        return ()
    ranges = _tfjs(files) if name == "model.json" else _saved_model(files)
    whole = (name, range(files[name]))
    return tuple(_staged((folder + path, wanted) for path, wanted in (whole, *ranges) if wanted))


def _saved_model(files: Mapping[str, int]) -> Iterator[tuple[str, range]]:
    if "variables/variables.index" in files:
        yield "variables/variables.index", range(files["variables/variables.index"])
    shards = sorted(path for path in files if path.startswith("variables/") and _SHARD.fullmatch(_name(path)))
    tails = {path: max(0, files[path] - TAIL_BYTES) // BLOCK_SIZE_BYTES * BLOCK_SIZE_BYTES for path in shards}
    yield from ((path, range(tails[path], files[path])) for path in shards)
    yield from ((path, range(tails[path])) for path in shards)
    for path in files:
        if path in _OPTIONAL or path.startswith("assets/"):
            yield path, range(files[path])


def _tfjs(files: Mapping[str, int]) -> Iterator[tuple[str, range]]:
    def numbers(path: str) -> list[int | str]:
        return [int(part) if part.isdecimal() else part for part in _DIGITS.split(path)]

    for path in sorted(files, key=numbers):  # shard 10 comes after shard 9
        if _TFJS_SHARD.fullmatch(path):
            yield path, range(files[path])


def _staged(ranges: Iterable[tuple[str, range]]) -> Iterator[Want]:
    """The ranges as wants: CERTAIN as far as the speculation goes, in whole blocks; the rest FOLLOWED.

    No rest is less than a tail: a tail is not split, and a few bytes are not worth a request.
    """
    left_bytes = SPECULATION_BYTES
    for path, wanted in ranges:
        certain_bytes = len(wanted)
        if certain_bytes > left_bytes:
            certain_bytes = min(left_bytes, max(0, len(wanted) - TAIL_BYTES)) // BLOCK_SIZE_BYTES * BLOCK_SIZE_BYTES
        if certain_bytes:
            yield Want(path, wanted.start, certain_bytes, Stage.CERTAIN)
        if certain_bytes < len(wanted):
            yield Want(path, wanted.start + certain_bytes, len(wanted) - certain_bytes, Stage.FOLLOWED)
            left_bytes = 0  # what comes later waits, too: the order holds
        else:
            left_bytes -= certain_bytes


def _folder(path: str) -> str:
    """What precedes the name: the empty text, or a path that ends in '/'."""
    return path[: len(path) - len(_name(path))]


def _name(path: str) -> str:
    return path.rpartition("/")[2]
