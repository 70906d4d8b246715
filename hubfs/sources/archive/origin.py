"""Where an archive is: on an HTTP host, or in a bucket."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from hubfs.blobs.gcs.client import GcsClient
from hubfs.blobs.gcs.object import GcsObject
from hubfs.blobs.http.client import HttpClient
from hubfs.blobs.streaming.http_stream import HttpStream
from hubfs.formats.index_file import IndexFile
from hubfs.formats.inflating.parallel import MIN_SIZE_BYTES
from hubfs.memory_budget import MemoryBudget
from hubfs.sources.archive.published import find_published_index, index_in_bucket


class ArchiveOrigin(Protocol):
    """An archive that its hub named. Holding one asks nobody; every method raises what its host answers."""

    def stream(self, allowance: MemoryBudget | None) -> HttpStream:
        """The archive as it is at this moment, from start to end, within `allowance` of memory."""
        ...

    def published_index(self, stream: HttpStream) -> IndexFile | None:
        """The index that the host publishes beside the archive that `stream` reads, if there is one."""
        ...


@dataclass(frozen=True, repr=False)
class HttpArchive:
    """The archive at `url`. `headers` go to the URL's host only; they may be secret.

    `parameters`: those of the hub's protocol that the URL's query may have, where an index is published beside it.
    With `locate`, the archive is where that says, nothing is published beside it, and `url` is its name.
    """

    client: HttpClient
    url: str
    headers: Mapping[str, str]
    parameters: Collection[str] = ()
    locate: Callable[[], str] | None = field(default=None, kw_only=True)

    def stream(self, allowance: MemoryBudget | None) -> HttpStream:
        """The archive as it is at this moment: one request, and a second one for a host that names no version."""
        return HttpStream(self.client, self.url, self.headers, locate=self.locate, allowance=allowance)

    def published_index(self, stream: HttpStream) -> IndexFile | None:
        """The index of the archive. None for a small one, which inflates in less time than a request takes."""
        if self.locate is not None or (stream.size_bytes or 0) < MIN_SIZE_BYTES:
            return None
        seen = self.client.probe(self.url, self.headers)  # asked for a moment ago, and remembered
        return find_published_index(self.client, seen, seen.link, self.headers, self.parameters)


@dataclass(frozen=True)
class BucketArchive:
    """The object at `url`, `gs://bucket/object`; `index` is the one beside it that has its index, if it was listed."""

    client: GcsClient
    url: str
    index: GcsObject | None = None

    def stream(self, allowance: MemoryBudget | None) -> HttpStream:
        """The object's generation of this moment: one request."""
        return self.client.stream(self.client.at(self.url), allowance=allowance)

    def published_index(self, stream: HttpStream) -> IndexFile | None:
        """The index of the archive. None for a small one, as of an `HttpArchive`."""
        if self.index is None or (stream.size_bytes or 0) < MIN_SIZE_BYTES:
            return None
        return index_in_bucket(self.client, self.url, self.index)
