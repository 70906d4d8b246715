"""What a `RangedStream` stands on: an object that can be read by ranges."""

from collections.abc import Iterator
from typing import Protocol

from hubfs.blobs.retry import Permanent
from hubfs.waiting import Cancellation


class RangesIgnored(Permanent):
    """The host answered with other bytes than the range that was asked for: it has to be read as one stream."""


class RangeRead(Protocol):
    """One range on its way."""

    def chunks(self) -> Iterator[bytes]:
        """The bytes of the range as they come, none of them more; fewer if the host sends fewer.

        Raises `Damaged` if it sends more, and any other `HubfsError`.
        """
        ...

    def give_up(self) -> None:
        """Ends the transfer, from any thread: whoever reads it gets an error. Does not block."""
        ...

    def close(self) -> None:
        """Called by the thread that read, in the end."""
        ...


class Ranges(Protocol):
    """An object that can be read from any byte on. Thread-safe."""

    @property
    def url(self) -> str:
        """Without credentials and without the query."""
        ...

    @property
    def identity(self) -> str:
        """As of a `ByteStream`."""
        ...

    @property
    def size_bytes(self) -> int:
        """How many bytes there are."""
        ...

    def begin(self, offset_bytes: int, end_bytes: int, stop: Cancellation) -> RangeRead:
        """Begins to read a range; one attempt. To be closed. Raises `RangesIgnored`, and any other `HubfsError`.

        A cancel of `stop` ends the wait for a reply that does not begin, with any of them.
        """
        ...
