"""A source: one model's entries, and the blobs behind them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from hubfs.blobs.blob import Blob
from hubfs.blobs.sparse import SparseBlob, SparseMap
from hubfs.blobs.stamp import Stamp
from hubfs.cache.block_cache import BlockCache, CacheKey
from hubfs.errors import HubfsError
from hubfs.model_id import ModelId


class Form(Enum):
    """How a hub hosts a model, as the status and the index name it."""

    COMPRESSED = "compressed"  # one archive
    UNCOMPRESSED = "uncompressed"  # the objects of a folder in a bucket
    FILE = "file"  # one file
    FILES = "files"  # every file has a URL of its own


class EntryKind(Enum):
    """What an entry is; a model holds nothing else."""

    FILE = "file"
    DIRECTORY = "directory"


@dataclass(frozen=True)
class Entry:
    """A path in a model. `path` is relative and POSIX, without `.` or `..`; the model root is the empty path.

    Of a file with holes, `sparse` says where its data are: they alone are stored, and cached. `kept_as`: the name that
    the file has in the cache, if that is not its path. `place`: where the file lies in what the host sends, in units of
    512 bytes, if files that are read in the order of their places cost less; 0 if not. `kept_in`: what keeps the file
    in the cache, if that is not its model: a file that several versions of a model have is kept once (`blob_name`).
    """

    path: str
    kind: EntryKind
    size_bytes: int = 0
    sparse: SparseMap | None = field(default=None, repr=False)
    kept_as: str = ""
    place: int = field(default=0, compare=False)
    kept_in: str = field(default="", compare=False, repr=False)

    @property
    def kept_path(self) -> str:
        """The name that the file has in the cache."""
        return self.kept_as or self.path

    @property
    def stored_bytes(self) -> int:
        """How many bytes of the file are stored: all of them, but for its holes."""
        return self.size_bytes if self.sparse is None else self.sparse.stored_bytes


def with_holes(stored: Blob, entry: Entry) -> Blob:
    """The file of `entry`, of which `stored` is what is stored."""
    return stored if entry.sparse is None else SparseBlob(stored, entry.sparse)


@dataclass(frozen=True)
class Extent:
    """How many files a model has, and their sizes together, without holes: as far as they are known."""

    files: int = 0
    size_bytes: int = 0


ROOT = Entry("", EntryKind.DIRECTORY)
"""The model root itself."""


class Source(Protocol):
    """One model's entries → blobs. Its answers are the same for life.

    Every method may wait for the network, with a bound, and raises `HubfsError` for what happened instead.
    """

    @property
    def handle(self) -> ModelId:
        """Which model this is."""
        ...

    @property
    def url(self) -> str:
        """Where the bytes come from, without credentials and query."""
        ...

    @property
    def form(self) -> Form:
        """How the hub hosts the model."""
        ...

    @property
    def identity(self) -> str:
        """Says which bytes these are; a model that is fetched anew after damage has another one or the same bytes."""
        ...

    @property
    def model(self) -> str:
        """The model's name in the cache: `<hub>/<handle>@<identity>`."""
        ...

    @property
    def shared(self) -> Sequence[str]:
        """What keeps files of the model beside `model` in the cache, and for other versions of it, too."""
        ...

    @property
    def failure(self) -> HubfsError | None:
        """Why nothing of this source may be served any more, for good; None while all is well."""
        ...

    @property
    def complete(self) -> bool:
        """Whether every entry is known and nothing is left to verify before it is trusted."""
        ...

    def await_end(self, patience_s: float) -> None:
        """Waits until it is `complete`, at most so many seconds, if nothing more of the hub is needed. Never raises."""
        ...

    @property
    def extent(self) -> Extent:
        """Of what is known by now; of all once `complete`. Never waits, and its cost does not grow with the model."""
        ...

    @property
    def came_bytes(self) -> int:
        """How many bytes have come by, while it `streams`, of those that are to. Never waits."""
        ...

    @property
    def to_come_bytes(self) -> int | None:
        """How many bytes come by before every entry is known: 0 once all are; None where nobody can say.

        Never waits.
        """
        ...

    @property
    def streams(self) -> bool:
        """Whether it is being read from its start to its end just now."""
        ...

    def __hash__(self) -> int:
        """By identity, as of any object."""
        ...

    def find(self, path: str) -> Entry:
        """The entry at `path`, as soon as it is known. Raises `EntryNotFound` once it is known to be absent."""
        ...

    def stamp(self, path: str) -> Stamp:
        """When the entry at `path`, which was found, was made, as far as the origin tells. Never raises, never waits.

        Of a directory, and of every file in an archive, that is said of the model as a whole. It is the same as long as
        the cache keeps the model's index, though the origin may tell another later.
        """
        ...

    def entries(self) -> Sequence[Entry]:
        """All entries, directories included, without the root; sorted by path."""
        ...

    def open(self, entry: Entry) -> Blob:
        """The bytes of a file entry."""
        ...


def key_of(source: Source, entry: Entry) -> CacheKey:
    """By what the cache knows a file of the model."""
    return CacheKey(entry.kept_in or source.model, entry.kept_path)


_MOST_COUNTED = 1000
"""Files of their own are counted for a status: 10 us each."""


def cached_bytes(cache: BlockCache, source: Source) -> int | None:
    """How much of the model the cache has. None: not counted yet, or not at all since too many files are shared."""
    if len(source.shared) > _MOST_COUNTED:
        return None
    total_bytes = 0
    for model in (source.model, *source.shared):
        more_bytes = cache.cached_bytes(model)
        if more_bytes is None:
            return None
        total_bytes += more_bytes
    return total_bytes
