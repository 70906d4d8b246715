"""The one idea: everything readable is a Blob, and behaviour is added by wrapping. The simplest blobs are here, too."""

from typing import Protocol, TypeGuard, runtime_checkable


@runtime_checkable
class Blob(Protocol):
    """Immutable readable bytes.

    Thread-safe, and stateless as far as a caller can tell. `key` names the bytes, identity included: equal keys mean
    equal bytes, for ever. `size_bytes` is their number.
    """

    @property
    def key(self) -> str:
        """The name of these bytes, unique over all origins and versions."""
        ...

    @property
    def size_bytes(self) -> int:
        """How many bytes there are."""
        ...

    def read_at(self, offset_bytes: int, size_bytes: int) -> bytes:
        """The bytes from `offset_bytes` on: exactly `size_bytes`, fewer only at the end, none past it.

        Raises `Stale` when the origin changed, and any other `HubfsError` for what happened instead.
        """
        ...


@runtime_checkable
class Prefetchable(Blob, Protocol):
    """A blob that can be told what will be read."""

    def prefetch(self, offset_bytes: int, size_bytes: int) -> int:
        """Begins to fetch what of these bytes is neither here nor on its way; returns at once, and raises nothing.

        Returns the offset up to which all of them are here or on their way: less than the end where there is no room
        for more now.
        """
        ...


def prefetches(blob: Blob) -> TypeGuard[Prefetchable]:
    """Whether a blob is `Prefetchable`: isinstance looks for each member of a protocol, at each open of a file."""
    return hasattr(blob, "prefetch")


class WrappedBlob:
    """The base of wrappers: `key` and `size_bytes` are those of `blob`; `read_at` gives the bytes of `blob`."""

    def __init__(self, blob: Blob) -> None:
        self._blob = blob
        self.key = blob.key
        self.size_bytes = blob.size_bytes


class MemoryBlob:
    """`data` under `key`, in memory: control files, and the reference implementation of the contract."""

    def __init__(self, key: str, data: bytes) -> None:
        self.key = key
        self.size_bytes = len(data)
        self._data = data

    def read_at(self, offset_bytes: int, size_bytes: int) -> bytes:
        """The bytes at an offset; fewer only at the end. Never raises."""
        return self._data[offset_bytes : offset_bytes + size_bytes]
