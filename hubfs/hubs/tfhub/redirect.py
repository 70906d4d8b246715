"""The models of a host of the TF Hub protocol, where the host says that they are."""

import logging
from functools import partial

from hubfs.blobs.http.url import redacted, without_secrets
from hubfs.blobs.retry import Permanent
from hubfs.cache.disk.indexes import Index
from hubfs.errors import AccessDenied, NotFound
from hubfs.hubs.hub import Means
from hubfs.hubs.tfhub import tfjs
from hubfs.hubs.tfhub.questions import LITE_FILE, PARAMETERS, Location
from hubfs.hubs.tfhub.resolver import TfhubResolver
from hubfs.model_id import ModelId
from hubfs.sources.archive.origin import ArchiveOrigin, BucketArchive, HttpArchive
from hubfs.sources.bucket import kept_bucket, list_bucket
from hubfs.sources.files import Manifest
from hubfs.sources.hosted import kept_files, probe_files
from hubfs.sources.kit import Kit
from hubfs.sources.source import Form, Source

_EXAMPLE = ModelId("google/spice", "2")

_log = logging.getLogger(__name__)


class Redirect:
    """The hub `label` (its name in the cache), asked by `resolver`; its hosts and buckets are read by `means`.

    Without a form in `means`, the uncompressed one is asked for first, and the archive if there is none. Remembers
    nothing. Methods that ask raise what `Hub` says.
    """

    def __init__(self, resolver: TfhubResolver, label: str, means: Means) -> None:
        self.url = resolver.hub
        self.latest, self.versions = resolver.latest, resolver.versions
        self._resolver = resolver
        self._label = label
        self._http, self._gcs, self._form = means.http, means.gcs, means.form

    def open(self, model: ModelId, kit: Kit) -> Source:
        """The model in the form that the hub has. Where a bucket does not let anybody in, the archive may be there."""
        if self._form is Form.UNCOMPRESSED:  # the hub will name the store, or nothing
            self._gcs.http.connect_ahead(self._gcs.endpoint_url)
        location = self._resolver.resolve(model)
        try:
            return self.at(model, location, kit)
        except (NotFound, AccessDenied) as refused:
            if location.form is Form.COMPRESSED or self._form is not None:
                raise
            _log.warning("%s: %s; asking for the compressed form", model, refused)
            try:
                location = self._resolver.resolve(model, Form.COMPRESSED)
            except NotFound:
                raise refused from None
            return self.at(model, location, kit)

    def load(self, model: ModelId, kept: Index, kit: Kit) -> Source:
        """The model as the cache has kept it; the hub is asked again for what the cache has lost."""
        form = Form(kept["form"])
        match form:
            case Form.COMPRESSED:
                return kit.kept_archive(self._label, model, kept, lambda: self._archive(self._located(model, form)))
            case Form.UNCOMPRESSED:
                manifest = kept_bucket(self._gcs, model, kept)
            case _:
                manifest = kept_files(self._http, model, kept, partial(self._file, model, form))
        return kit.kept_files(self._label, model, manifest)

    def example(self) -> str:
        """Asks for a model that https://tfhub.dev has; where it is."""
        return redacted(self._resolver.resolve(_EXAMPLE).url)

    def folder(self, model: ModelId) -> str:
        """The bucket's folder that the hub names."""
        return self._resolver.resolve(model, Form.UNCOMPRESSED).url

    def at(self, model: ModelId, location: Location, kit: Kit) -> Source:
        """The model that is there. Asks the host that the location names."""
        match location.form:
            case Form.COMPRESSED:
                return kit.archive(self._label, model, self._archive(location))
            case Form.UNCOMPRESSED:
                manifest = list_bucket(self._gcs, model, location.url)
            case Form.FILE:
                files = probe_files(self._http, model, location.url, {LITE_FILE: location.url}, location.headers)
                manifest = Manifest(without_secrets(location.url), Form.FILE, files)
            case Form.FILES:
                manifest = tfjs.ask_tfjs(self._http, model, location)
        return kit.files(self._label, model, manifest)

    def _archive(self, location: Location) -> ArchiveOrigin:
        if location.url.startswith("gs://"):
            return BucketArchive(self._gcs, location.url)
        return HttpArchive(self._http, location.url, location.headers, PARAMETERS)

    def _file(self, model: ModelId, form: Form, path: str) -> tuple[str, dict[str, str]]:
        location = self._located(model, form)
        url = location.url if form is Form.FILE else tfjs.url_of(location.url, path)
        return url, dict(location.headers)

    def _located(self, model: ModelId, form: Form) -> Location:
        """Where a model is by now that was found before. Raises what the hub raises, but for `NotFound`.

        To a program that reads or lists a model that is there, "no such file" would be no answer: libc takes ENOENT of
        `readdir` for the end of the directory. `Permanent` says so, and what the cache keeps of the model stays
        (docs/decisions/readdir.md).
        """
        try:
            return self._resolver.resolve(model, form)
        except NotFound as gone:
            raise Permanent(f"{gone}; it had, and what is cached of {model} can still be read") from gone
