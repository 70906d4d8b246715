"""A model in memory."""

from collections.abc import Callable, Mapping, Sequence

from hubfs.blobs.blob import Blob
from hubfs.blobs.memory import MemoryBlob
from hubfs.blobs.stamp import UNDATED, Stamp
from hubfs.hubs.resolver import Form
from hubfs.model_id import ModelId
from hubfs.sources.listed import ListedSource, Wrap, tree_of
from hubfs.sources.source import Entry

_SPICE = ModelId("google/spice", "2")


class MemorySource(ListedSource):
    """The model `handle` of `hub`, whose files are `files`: their bytes, or the blob of them, by path; see `Source`.

    `wrap` is put around each file's blob; `stamp_of` tells when a file was made. `fail` makes the source one that
    failed. `listings` counts the calls of `entries`; a test may set `streams`.
    """

    def __init__(
        self,
        files: Mapping[str, bytes | Blob],
        *,
        hub: str = "https://hub.example",
        handle: ModelId = _SPICE,
        identity: str = "v1",
        form: Form = Form.UNCOMPRESSED,
        stamp_of: Callable[[str], Stamp] = lambda _: UNDATED,
        wrap: Wrap = lambda _, blob: blob,
    ) -> None:
        self.form = form  # type: ignore[misc]  # the forms of all other sources are fixed
        self.listings = 0
        url = f"{hub}/{handle}"
        blobs = {
            path: MemoryBlob(f"{url}/{path}#{identity}", file) if isinstance(file, bytes) else file
            for path, file in files.items()
        }
        super().__init__(
            hub,
            handle,
            url,
            identity,
            entries=tree_of(url, {path: blob.size_bytes for path, blob in blobs.items()}),
            stamp_of=stamp_of,
            blob_of=blobs.__getitem__,
            wrap=wrap,
            on_failure=None,
        )

    def entries(self) -> Sequence[Entry]:
        """All entries."""
        self.listings += 1
        return super().entries()
