"""A model in memory."""

from collections.abc import Callable, Mapping, Sequence

from hubfs.blobs.blob import Blob, MemoryBlob
from hubfs.blobs.stamp import UNDATED, Stamp
from hubfs.errors import HubfsError
from hubfs.hubs.hub import label_of
from hubfs.model_id import ModelId, model_name
from hubfs.sources.files import FilesSource, Manifest, RemoteFile, Wrap
from hubfs.sources.source import Entry, Form

_SPICE = ModelId("google/spice", "2")


class MemorySource(FilesSource):
    """The model `handle` of `hub`, whose files are `files`: their bytes, or the blob of them, by path.

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
        self.listings = 0
        url = f"{hub}/{handle}"

        def described(path: str, file: bytes | Blob) -> RemoteFile:
            blob = MemoryBlob(f"{url}/{path}#{identity}", file) if isinstance(file, bytes) else file
            return RemoteFile(blob.size_bytes, blob.key, lambda: blob, stamp=stamp_of(path))

        manifest = Manifest(url, form, {path: described(path, file) for path, file in files.items()})
        super().__init__(label_of(hub), handle, manifest, wrap)
        self.identity = identity
        self.model = model_name(label_of(hub), handle, identity)

    def fail(self, failure: HubfsError) -> None:
        """As if a file were found to be damaged, or changed."""
        self._failure.fail(failure)

    def entries(self) -> Sequence[Entry]:
        """All entries."""
        self.listings += 1
        return super().entries()
