"""What every stream promises. An implementation passes by subclassing `StreamContract` with `stream_of`."""

import random
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager

import pytest

from hubfs.blobs.streaming.http_stream import HttpStream
from hubfs.blobs.streaming.stream import RangedStream

Stream = HttpStream | RangedStream

PAYLOAD = random.Random(9).randbytes(9 * (1 << 20) + 4321)


class StreamContract:
    def stream_of(self, payload: bytes) -> AbstractContextManager[Stream]:
        """A stream whose bytes are `payload`, behind the real thing; closed afterwards."""
        raise NotImplementedError

    @pytest.fixture
    def stream(self) -> Iterator[Stream]:
        with self.stream_of(PAYLOAD) as stream:
            yield stream

    def test_has_a_url_for_messages_and_an_identity(self, stream: Stream) -> None:
        assert "://" in stream.url
        assert "?" not in stream.url
        assert isinstance(stream, RangedStream) or stream.identity

    def test_yields_all_bytes_once_and_in_their_order(self, stream: Stream) -> None:
        assert b"".join(stream.chunks()) == PAYLOAD

    def test_each_reading_starts_anew(self, stream: Stream) -> None:
        assert b"".join(stream.chunks()) == PAYLOAD
        assert b"".join(stream.chunks()) == PAYLOAD

    def test_no_chunk_is_empty_or_larger_than_a_piece(self, stream: Stream) -> None:
        assert all(0 < len(chunk) <= 4 << 20 for chunk in stream.chunks())

    @pytest.mark.parametrize("size", [0, 1, 262_143, 262_144, 262_145, 1 << 20])
    def test_streams_of_any_size_end_where_they_should(self, size: int) -> None:
        with self.stream_of(PAYLOAD[:size]) as stream:
            assert b"".join(stream.chunks()) == PAYLOAD[:size]

    def test_a_reading_that_is_closed_early_leaves_the_next_one_alone(self, stream: Stream) -> None:
        chunks = stream.chunks()
        assert PAYLOAD.startswith(next(chunks))
        chunks.close()  # type: ignore[attr-defined]
        assert list(chunks) == []
        assert b"".join(stream.chunks()) == PAYLOAD

    def test_readings_in_several_threads_do_not_disturb_each_other(self, stream: Stream) -> None:
        got: list[bytes] = []
        readers = [threading.Thread(target=lambda: got.append(b"".join(stream.chunks()))) for _ in range(3)]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join(60)
        assert got == [PAYLOAD] * 3
