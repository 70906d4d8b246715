"""The public bucket that keeps the models of https://tfhub.dev uncompressed, under their handles."""

from collections.abc import Sequence

from hubfs.blobs.gcs.client import GcsClient
from hubfs.blobs.gcs.object import bucket_and_name
from hubfs.cache.disk.indexes import Index
from hubfs.errors import ModelNotFound, NotFound
from hubfs.hubs.tfhub.names.handle import is_version, version_age
from hubfs.model_id import ModelId
from hubfs.sources.bucket import kept_bucket, list_bucket
from hubfs.sources.files import Manifest
from hubfs.sources.kit import Kit
from hubfs.sources.source import Source

_EXAMPLE = "google/spice"
"""A name that the bucket has, as far as anybody may see it."""


class PublicBucket:
    """The bucket at `url` (`gs://bucket/prefix`) with models of the hub `label` (its name in the cache).

    Remembers nothing. Methods that ask raise `ModelNotFound`, `Damaged`, and what `Hub` says.
    """

    def __init__(self, gcs: GcsClient, url: str, label: str) -> None:
        self.url = url
        self._label = label
        self._gcs = gcs
        self._bucket, self._prefix = bucket_and_name(url)

    def open(self, model: ModelId, kit: Kit) -> Source:
        """The model's files, by one listing."""
        return kit.files(self._label, model, self._manifest(model))

    def load(self, model: ModelId, kept: Index, kit: Kit) -> Source:
        """The model as the cache has kept it."""
        return kit.kept_files(self._label, model, kept_bucket(self._gcs, model, kept))

    def has_kept(self, kept: Index) -> bool:
        """Whether the model of an index is in this bucket."""
        return str(kept["url"]).startswith(f"{self.url}/")

    def latest(self, name: str) -> str:
        """The highest of `versions`."""
        return self.versions(name)[-1]

    def versions(self, name: str) -> Sequence[str]:
        """The versions of a name, ascending, by one listing. Raises `ModelNotFound` where there is none."""
        found = self._versions(name)
        if not found:
            raise ModelNotFound(f"no version of {name} is below {self.url}/{name}/")
        return found

    def folder(self, model: ModelId) -> str:
        """The folder of a model that is there, by one listing."""
        return self._manifest(model).url

    def example(self) -> str:
        """Asks for a name that the bucket has; what came of it, for people."""
        return f"{len(self._versions(_EXAMPLE))} versions of {_EXAMPLE}"

    def _manifest(self, model: ModelId) -> Manifest:
        return list_bucket(self._gcs, model, f"{self.url}/{model}/uncompressed")

    def _versions(self, name: str) -> Sequence[str]:
        start = f"{self._prefix}/{name}/"
        try:
            folders = self._gcs.folder(self._bucket, start).prefixes
        except NotFound as error:
            raise ModelNotFound(f"{name}: {error}") from error
        return sorted(filter(is_version, (folder[len(start) : -1] for folder in folders)), key=version_age)
