"""What vouches for bytes whose host names no version of them: checksums of the blocks that came before."""

from collections.abc import Mapping, Sequence

from hubfs.blobs.checksums import crc32c
from hubfs.cache.block_cache import blocks_of
from hubfs.errors import Stale

Checksums = Mapping[str, Sequence[int | None]]
"""The crc32c of the blocks of files, by their names in the cache; None for a block that was not seen."""


class BlockChecksums:
    """The crc32c of every block of the model at `url` that was seen so far: four bytes for each MiB.

    A block that was fetched, by a pass or by spans, is checked before any reader gets it. So no reader gets blocks of
    two versions, unless the only difference lies in blocks that nobody has fetched before.

    `_crcs` is changed by `dict.setdefault` only, which is atomic: no lock is needed.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._crcs: dict[tuple[str, int], int] = {}

    def check(self, path: str, index: int, block: bytes) -> None:
        """Block `index` of the file at `path` was fetched. Raises `Stale` if it is another one than before."""
        self._note(path, index, crc32c(block))

    def adopt(self, known: Checksums) -> None:
        """What was seen earlier, as `of` gave it, by path. Raises `Stale` if that contradicts what was seen here."""
        for path, crcs in known.items():
            for index, crc in enumerate(crcs):
                if crc is not None:
                    self._note(path, index, crc)

    def of(self, path: str, size_bytes: int) -> list[int | None]:
        """The checksums of a file of `size_bytes`, block by block; None for a block that was not seen."""
        return [self._crcs.get((path, index)) for index in blocks_of(0, size_bytes, size_bytes)]

    def _note(self, path: str, index: int, crc: int) -> None:
        if self._crcs.setdefault((path, index), crc) != crc:
            raise Stale(
                f"{self._url} was replaced, though its host names no other version: MiB {index} of {path!r} is not "
                "what it was; open the file again"
            )
