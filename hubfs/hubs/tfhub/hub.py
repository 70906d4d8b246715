"""A host of the TF Hub protocol as a hub."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from cachetools import TTLCache

from hubfs.blobs.gcs.client import GcsClient
from hubfs.blobs.gcs.object import bucket_and_name
from hubfs.blobs.http.client import HttpClient
from hubfs.blobs.http.url import redacted, without_secrets
from hubfs.blobs.retry import Permanent
from hubfs.cache.disk.indexes import Index
from hubfs.catalogue import document
from hubfs.catalogue.catalogue import Catalog
from hubfs.catalogue.document import CatalogDocument
from hubfs.catalogue.handle import kind_of
from hubfs.errors import AccessDenied, HubfsError, NotFound, TimedOut, Unavailable
from hubfs.hubs.hub import Check, Hub, Means, label_of
from hubfs.hubs.numbered import NumberedNames
from hubfs.hubs.tfhub import bundled, tfjs
from hubfs.hubs.tfhub.extracted.source import find_extracted
from hubfs.hubs.tfhub.questions import PARAMETERS, Location
from hubfs.hubs.tfhub.resolver import TfhubResolver
from hubfs.hubs.tfhub.ways import PUBLIC_BUCKET, REST_S, Way, next_step, ways_to
from hubfs.hubs.tfhub_modules import spellings
from hubfs.model_id import ModelId
from hubfs.sources.archive.origin import ArchiveOrigin, BucketArchive, HttpArchive
from hubfs.sources.bucket import kept_bucket, list_bucket
from hubfs.sources.files import Manifest
from hubfs.sources.hosted import kept_files, probe_files
from hubfs.sources.kit import Kit
from hubfs.sources.source import Form, Source

LITE_FILE = "model.tflite"
"""The file of a TF Lite model: the protocol gives it no name."""

_log = logging.getLogger(__name__)


def make(url: str, means: Means) -> Hub:
    """The hub at an http or https URL. Raises `InvalidConfig`."""
    bucket_url = PUBLIC_BUCKET if bundled.is_public_hub(url) else None
    return TfHub(
        url,
        http=means.http,
        gcs=means.gcs,
        form=means.form,
        extracted_dir=means.extracted_dir,
        bucket_url=bucket_url,
    )


class TfHub(NumberedNames):
    """The hub at `hub_url`, asked through `http`; buckets that it names are read through `gcs`.

    `form`: the one to ask for; None asks for the uncompressed one first, and falls back to the archive. `extracted_dir`
    is where tensorflow_hub keeps models that it extracted on this machine. `bucket_url` (`gs://bucket/prefix`) is a
    bucket that keeps the hub's models uncompressed, and is tried before the hub is asked. Raises `InvalidConfig` for a
    URL that no hub can have.

    `_lock` guards `_resting`; nobody is asked under it.
    """

    def __init__(
        self,
        hub_url: str,
        *,
        http: HttpClient,
        gcs: GcsClient,
        form: Form | None = None,
        extracted_dir: Path | None = None,
        bucket_url: str | None = None,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._resolver = TfhubResolver(http, hub_url, form)
        super().__init__(self._resolver.hub, self._resolver.hub, label_of(self._resolver.cached_as))
        self.vouched = http.settings.verify
        self._hub_url = hub_url
        self._http = http
        self._gcs = gcs
        self._form = form
        self._extracted_dir = extracted_dir
        self._bucket_url = bucket_url
        self._lock = threading.Lock()
        self._resting: TTLCache[Way, str] = TTLCache(1, REST_S, timer)  # why the bucket is left alone

    def local(self, model: ModelId) -> Source | None:
        """The model as tensorflow_hub extracted it on this machine, if it did, and it is whole."""
        if self._extracted_dir is None:
            return None
        return find_extracted(self._extracted_dir, self.label, model, spellings([self.url], str(model)))

    def open(self, model: ModelId, kit: Kit) -> Source:
        """The model by the first way that leads to it (`ways`)."""
        failed: dict[Way, HubfsError] = {}
        with self._lock:
            why = self._resting.get(Way.BUCKET)
        if why is not None:
            failed[Way.BUCKET] = Unavailable(f"{why} (it is asked again after {REST_S:g} s)")
        ways = ways_to(kind_of(model.name), self._form, bucket=self._bucket_url is not None)
        while isinstance(step := next_step(ways, failed), Way):
            found = self._by(step, model, kit)
            if not isinstance(found, HubfsError):
                return found
            failed[step] = found
        raise step

    def _by(self, way: Way, model: ModelId, kit: Kit) -> Source | HubfsError:
        """The model by this way, or why there is none. Raises what no other way could mend: `Damaged`, `Cancelled`."""
        try:
            return self._by_bucket(model, kit) if way is Way.BUCKET else self._by_hub(model, kit)
        except (NotFound, AccessDenied, TimedOut, Unavailable) as error:
            return error

    def _by_bucket(self, model: ModelId, kit: Kit) -> Source:
        """The model in the public bucket. A bucket that cannot be asked rests."""
        try:
            manifest = list_bucket(self._gcs, model, f"{self._bucket_url}/{model}/uncompressed")
        except (AccessDenied, TimedOut, Unavailable) as error:
            with self._lock:
                self._resting[Way.BUCKET] = str(error)
            _log.warning("%s; %s is left alone for %g s", error, self._bucket_url, REST_S)
            raise
        return kit.files(self.label, model, manifest)

    def _by_hub(self, model: ModelId, kit: Kit) -> Source:
        """The model in the form that the hub has. Where a bucket does not let anybody in, the archive may be there."""
        location = self._resolver.resolve(model)
        try:
            return self._opened(model, location, kit)
        except (NotFound, AccessDenied) as refused:
            if location.form is Form.COMPRESSED or self._form is not None:
                raise
            _log.warning("%s: %s; asking for the compressed form", model, refused)
            try:
                location = self._resolver.resolve(model, Form.COMPRESSED)
            except NotFound:
                raise refused from None
            return self._opened(model, location, kit)

    def load(self, model: ModelId, kept: Index, kit: Kit) -> Source:
        """The model as the cache has kept it; the hub is asked again for what the cache has lost."""
        form = Form(kept["form"])
        match form:
            case Form.COMPRESSED:
                return kit.kept_archive(self.label, model, kept, lambda: self._archive(self._located(model, form)))
            case Form.UNCOMPRESSED:
                manifest = kept_bucket(self._gcs, model, kept)
            case _:
                manifest = kept_files(self._http, model, kept, partial(self._file, model, form))
        return kit.kept_files(self.label, model, manifest)

    def alias(self, name: str) -> str:
        """The version to which the hub redirects, or the highest that counting up finds."""
        return self._resolver.latest(name)

    def versions(self, name: str) -> Sequence[str]:
        """The versions that counting up finds: a request for each that is tried."""
        return self._resolver.versions(name)

    def catalogue(self) -> Callable[[], Catalog] | None:
        """The public catalogue, of https://tfhub.dev alone."""
        return bundled.bundled_catalogue if bundled.is_public_hub(self._hub_url) else None

    def document(self) -> Callable[[str | None], CatalogDocument | None]:
        """Asks for `catalog.jsonl` below the hub's URL."""
        return lambda etag: document.fetch(self._http, self._hub_url, etag=etag)

    def folder(self, model: ModelId) -> str:
        """The bucket's folder that the hub names."""
        return self._resolver.resolve(model, Form.UNCOMPRESSED).url

    def checks(self) -> Iterator[Check]:
        """The hub, and the store to which hubs lead for models in the uncompressed form."""
        yield Check(
            "hub",
            redacted(self.url),
            lambda: f"status {self._http.reply(self._hub_url, max_body_bytes=1).status}",
            "see the proxy above, and whether --hub names a hub that there is",
        )
        if self._bucket_url is not None and self._form is not Form.COMPRESSED:
            bucket, name = bucket_and_name(self._bucket_url)
            yield Check(
                "public bucket",
                self._bucket_url,
                lambda: f"{len(self._gcs.folder(bucket, f'{name}/google/spice/').prefixes)} versions of google/spice",
                "models are asked for at the hub itself: --format compressed does not try the bucket",
                vital=False,
            )
        if self._form is not Form.COMPRESSED:
            store = self._gcs.endpoint_url
            yield Check(
                "bucket",
                redacted(store),
                lambda: f"status {self._http.reply(store, max_body_bytes=1).status}",
                "models that are hosted uncompressed cannot be read: --format compressed asks for archives",
                vital=False,
            )

    def _opened(self, model: ModelId, location: Location, kit: Kit) -> Source:
        match location.form:
            case Form.COMPRESSED:
                return kit.archive(self.label, model, self._archive(location))
            case Form.UNCOMPRESSED:
                manifest = list_bucket(self._gcs, model, location.url)
            case Form.FILE:
                files = probe_files(self._http, model, location.url, {LITE_FILE: location.url}, location.headers)
                manifest = Manifest(without_secrets(location.url), Form.FILE, files)
            case Form.FILES:
                manifest = tfjs.ask_tfjs(self._http, model, location)
        return kit.files(self.label, model, manifest)

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
