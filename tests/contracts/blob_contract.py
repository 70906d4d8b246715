"""What every Blob promises. An implementation passes by subclassing `BlobContract` with `blob_of`."""

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager

import pytest

from hubfs.blobs.blob import Blob

PAYLOAD = random.Random(7).randbytes(3 * (1 << 20) + 4321)
SIZE = len(PAYLOAD)


class BlobContract:
    def blob_of(self, payload: bytes) -> AbstractContextManager[Blob]:
        """A blob whose bytes are `payload`, behind the real thing; closed afterwards."""
        raise NotImplementedError

    @pytest.fixture
    def blob(self) -> Iterator[Blob]:
        with self.blob_of(PAYLOAD) as blob:
            yield blob

    def test_knows_its_size_and_key(self, blob: Blob) -> None:
        assert blob.size_bytes == SIZE
        assert isinstance(blob.key, str)
        assert blob.key

    @pytest.mark.parametrize(
        ("offset", "size"),
        [
            (0, 1),
            (0, SIZE),
            (1, SIZE - 2),
            ((1 << 20) - 1, 2),
            ((1 << 20), 1 << 20),
            (SIZE - 1, 1),
        ],
    )
    def test_reads_what_is_there(self, blob: Blob, offset: int, size: int) -> None:
        assert blob.read_at(offset, size) == PAYLOAD[offset : offset + size]

    def test_is_short_only_at_the_end(self, blob: Blob) -> None:
        assert blob.read_at(SIZE - 10, 100) == PAYLOAD[-10:]

    @pytest.mark.parametrize("offset", [SIZE, SIZE + 1, SIZE * 2])
    def test_has_nothing_past_the_end(self, blob: Blob, offset: int) -> None:
        assert blob.read_at(offset, 5) == b""

    def test_reads_nothing_for_size_zero(self, blob: Blob) -> None:
        assert blob.read_at(3, 0) == b""

    def test_gives_bytes(self, blob: Blob) -> None:
        assert type(blob.read_at(5, 5)) is bytes

    def test_is_thread_safe(self, blob: Blob) -> None:
        places = [(random.Random(n).randrange(SIZE), 70_000) for n in range(40)]

        def same(place: tuple[int, int]) -> bool:
            offset, size = place
            return blob.read_at(offset, size) == PAYLOAD[offset : offset + size]

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(same, places))

    def test_an_empty_blob_reads_as_nothing(self) -> None:
        with self.blob_of(b"") as blob:
            assert blob.size_bytes == 0
            assert blob.read_at(0, 10) == b""
