"""What loaders want of a model in safetensors files: pure policy."""

import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence

from hubfs.blobs.blob import Blob
from hubfs.cache.block_cache import BLOCK_SIZE_BYTES
from hubfs.formats.safetensors import read_header, read_index
from hubfs.sources.prefetch.plan import (
    OVERRUN_BYTES,
    SPECULATION_BYTES,
    Look,
    Plan,
    Stage,
    Want,
    Wants,
    files_in,
    folder_of,
    name_of,
    staged,
)
from hubfs.sources.prefetch.tensors import Fronts, Skips, Tensors
from hubfs.sources.source import Entry

_INDEX = re.compile(r"(.+)\.safetensors\.index(\.[^./]+)?\.json")
_SHARD = re.compile(r"(.+)-\d{5}-of-\d{5}\.safetensors")

_ENDING = ".safetensors"

_MOST_INDEXES = 4
"""More indexes of one folder are not looked into for the file that is read. Diffusers has one a precision."""


class Safetensors(Plan):
    """The index of a model was opened, or a file of it read from its start: all files that the index names.

    Of another format, or precision, nothing is wanted: only what the index names, or the file itself. The first block
    of each comes first, since loaders read all headers before any tensor: beside the index itself, of files whose names
    tell that the index will name them. Readers of headers alone pay for
    `SPECULATION_BYTES`; the rest is wanted once somebody reads on in order where no header's read-ahead reaches.

    A reader in a tensor has its file go on from there. Loaders of some experts, or of some layers, skip tensors: then
    no whole file is wanted any more, and a tensor that is read in order is wanted to its end.
    """

    def __init__(self, begun_by: str) -> None:
        super().__init__(begun_by)
        self._sizes_bytes: dict[str, int] = {}
        self._files: frozenset[str] | None = None  # None: not known yet
        self._indexes_left: int | None = None  # how many were not seen yet
        self._tensors: dict[str, Tensors | None] = {}  # None: not known, or not yet
        self._fronts: dict[str, Fronts] = {}
        self._skips = Skips()
        self._by_tensor = False
        self._wanted: set[tuple[str, int]] = set()  # tensors, once they are wanted one by one
        self._again = False

    @classmethod
    def begins(cls, path: str, *, read: bool) -> bool:
        """At the opening of an index, or a read of a file's first bytes."""
        return path.endswith(_ENDING) if read else _INDEX.fullmatch(name_of(path)) is not None

    def covers(self, path: str) -> bool:
        """The index, and the files that it names; until they are known, each file beside it."""
        if self._files is None:
            return path == self.begun_by or (path.endswith(_ENDING) and folder_of(path) == folder_of(self.begun_by))
        return path in self._files or path == self.begun_by

    @property
    def over(self) -> bool:
        """Once all was asked for, and the index is opened again, or a header read again."""
        return super().over and self._again

    def _learn(self, entries: Sequence[Entry]) -> None:
        folder = folder_of(self.begun_by)
        files = {folder + path: size for path, size in files_in(entries, folder).items() if "/" not in path}
        self._sizes_bytes = {path: size for path, size in files.items() if path.endswith(_ENDING)}
        if self._files is None:
            indexes = sorted(path for path in files if _INDEX.fullmatch(name_of(path)))[:_MOST_INDEXES]
            if self.begun_by not in self._sizes_bytes:
                indexes = [self.begun_by]
                itself = Want(self.begun_by, 0, files[self.begun_by], Stage.CERTAIN)  # its reader comes first
                self.wants = Wants([itself, *self._heads(self._likely())])
            self.looks.extend(Look(path, read_index) for path in indexes)
            self._indexes_left = len(indexes)
            self._decide()

    def opened(self, path: str) -> None:
        """Opening the index once more begins anew."""
        self._again |= path == self.begun_by and super().over

    def saw(self, look: Look, seen: object) -> None:
        """The tensors of a file, or the files of an index."""
        if look.understand is _tensors_of:
            if isinstance(seen, Tensors):
                self._tensors[look.path] = seen
                self._fronts[look.path].came_before(seen)
            elif look.path == self.begun_by:
                self._know([])  # this is no file of safetensors
        else:
            self._indexes_left = (self._indexes_left or 1) - 1
            names = [folder_of(look.path) + name for name in seen] if isinstance(seen, tuple) else []
            if look.path == self.begun_by or self.begun_by in names:
                self._know(names)
        self._decide()

    def _decide(self) -> None:
        """A file that no index names is a model of its own."""
        if self._files is None and self._indexes_left == 0 and self._tensors.get(self.begun_by) is not None:
            self._know([self.begun_by])

    def _know(self, names: Iterable[str]) -> None:
        """All files of the model: those before the one that is read come last."""
        paths = sorted(
            (path for path in names if self._sizes_bytes.get(path)), key=lambda path: (path < self.begun_by, path)
        )
        self._files = frozenset(paths)
        self.looks = deque(one for one in self.looks if one.understand is not read_index)
        heads = self._heads(paths)
        left_bytes = SPECULATION_BYTES - sum(head.size_bytes for head in heads)
        rests = ((path, range(BLOCK_SIZE_BYTES, self._sizes_bytes[path])) for path in paths)
        self.wants = Wants(heads, staged(((path, rest) for path, rest in rests if rest), max(0, left_bytes)))

    def _heads(self, paths: Iterable[str]) -> Sequence[Want]:
        """The first block of each."""
        return [*staged((path, range(min(BLOCK_SIZE_BYTES, self._sizes_bytes[path]))) for path in paths)]

    def _likely(self) -> Iterator[str]:
        """The files that the index that was opened will name, by their names: they are asked for beside the index."""
        index = _INDEX.fullmatch(name_of(self.begun_by))
        for path in sorted(self._sizes_bytes):
            shard = _SHARD.fullmatch(name_of(path))
            if index and shard and index.groups() == (shard[1], None) and self._sizes_bytes[path]:
                yield path

    def read(self, path: str, offset_bytes: int, end_bytes: int) -> None:
        """A reader that read a header reads on."""
        if offset_bytes == 0 and path.endswith(_ENDING):
            if path in self._tensors:
                self._again |= super().over
            else:
                self._tensors[path] = None
                self.looks.append(Look(path, _tensors_of))
        in_order_bytes = self._fronts.setdefault(path, Fronts()).read(offset_bytes, end_bytes)
        tensors = self._tensors.get(path)
        if tensors is None:
            return
        if in_order_bytes >= OVERRUN_BYTES and end_bytes > tensors.data_bytes + OVERRUN_BYTES:
            self.stage = Stage.FOLLOWED
        self._skips.read(tensors, offset_bytes, end_bytes)
        if self._skips.many and not self._by_tensor:
            self._by_tensor = True
            self.wants.clear()
        index = tensors.at(offset_bytes)
        start_bytes = offset_bytes if index is None else tensors.starts_bytes[index]
        if not self._by_tensor:
            self.wants.come(path, start_bytes) or self.wants.come(path, offset_bytes)
        elif index is not None and offset_bytes > start_bytes and tensors.was_begun(index):
            self._want(path, start_bytes, tensors.ends_bytes[index])

    def _want(self, path: str, start_bytes: int, end_bytes: int) -> None:
        """One tensor, once its reader goes on behind its first bytes: the kernel's read-ahead reaches these, too."""
        if (path, start_bytes) in self._wanted:
            return
        self._wanted.add((path, start_bytes))
        start = start_bytes // BLOCK_SIZE_BYTES * BLOCK_SIZE_BYTES
        stop = min(-(-end_bytes // BLOCK_SIZE_BYTES) * BLOCK_SIZE_BYTES, self._sizes_bytes[path])
        self.wants.prefer(Want(path, start, stop - start, self.stage))


def _tensors_of(blob: Blob) -> Tensors:
    header = read_header(blob)
    return Tensors(header.data_bytes, header.tensors)
