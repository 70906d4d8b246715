"""How much of a body one read brings."""

import io

from hubfs.blobs.http.reply import BoundedReply

RECORD_BYTES = 16 << 10
BODY = bytes(range(256)) * (4 << 10)


class Records(io.RawIOBase):
    """Brings a reply as TLS does, at most a record at a time; counts how often it was asked."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self._data = io.BytesIO(data)
        self.most_asked_bytes = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override] # BufferedReader gives a view
        self.most_asked_bytes = max(self.most_asked_bytes, len(buffer))
        return self._data.readinto(buffer[:RECORD_BYTES])


class Connected:
    """A socket as `BoundedReply` takes it."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(self._records)

    def gettimeout(self) -> None:
        return None

    def settimeout(self, _timeout_s: float | None) -> None:
        pass


def reply_of(body: bytes, announced_bytes: int) -> tuple[BoundedReply, Records]:
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {announced_bytes}\r\n\r\n".encode()
    records = Records(head + body)
    reply = BoundedReply(Connected(records))  # type: ignore[arg-type]
    reply.begin()
    return reply, records


def test_what_is_there_is_given_out_at_once() -> None:
    reply, _ = reply_of(BODY, len(BODY))
    assert 0 < len(reply.read1(len(BODY))) <= RECORD_BYTES


def test_one_read_gathers_what_many_records_bring() -> None:
    reply, records = reply_of(BODY, len(BODY))
    reply.gathering_s = 3600
    assert reply.read1(len(BODY)) == BODY
    assert reply.read1(1) == b""
    assert records.most_asked_bytes < len(BODY), "room for all of it is made for each record"


def test_no_more_is_gathered_than_was_asked_for() -> None:
    reply, _ = reply_of(BODY, len(BODY))
    reply.gathering_s = 3600
    assert reply.read1(100_000) == BODY[:100_000]
    assert reply.read1(len(BODY)) == BODY[100_000:]


def test_gathering_ends_where_a_body_is_cut_short() -> None:
    reply, _ = reply_of(BODY[:50_000], len(BODY))
    reply.gathering_s = 3600
    assert reply.read1(len(BODY)) == BODY[:50_000]
    assert reply.read1(1) == b""


def test_gathering_has_a_bound() -> None:
    reply, _ = reply_of(BODY, len(BODY))
    reply.gathering_s = 1e-9
    assert 0 < len(reply.read1(len(BODY))) < len(BODY)
