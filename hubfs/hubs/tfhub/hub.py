"""A host of the TF Hub protocol as a hub; https://tfhub.dev has several ways to its models."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Protocol, TypeVar

from hubfs.blobs.http.url import redacted, without_secrets
from hubfs.cache.disk.indexes import Index
from hubfs.errors import AccessDenied, Damaged, HubfsError, ModelNotFound, NotFound, TimedOut, Unavailable
from hubfs.hubs.hub import Check, Hub, Means, WayTold, label_of
from hubfs.hubs.registry import SHORT, is_default
from hubfs.hubs.tfhub import bundled
from hubfs.hubs.tfhub.at_kaggle import AtKaggle
from hubfs.hubs.tfhub.extracted.source import find_extracted
from hubfs.hubs.tfhub.moving import moving
from hubfs.hubs.tfhub.names import document
from hubfs.hubs.tfhub.names.catalogue import Catalog
from hubfs.hubs.tfhub.names.handle import Kind, kind_of
from hubfs.hubs.tfhub.names.handles import Handles
from hubfs.hubs.tfhub.names.provider import CatalogProvider
from hubfs.hubs.tfhub.names.tfhub_modules import spellings
from hubfs.hubs.tfhub.public_bucket import PublicBucket
from hubfs.hubs.tfhub.readme import readme
from hubfs.hubs.tfhub.redirect import Redirect
from hubfs.hubs.tfhub.resolver import TfhubResolver
from hubfs.hubs.tfhub.tried import Tried
from hubfs.hubs.tfhub.ways import PUBLIC_BUCKET, REST_S, Shut, Way, next_step, rests_after, ways_to
from hubfs.model_id import ModelId
from hubfs.sources.kit import Kit
from hubfs.sources.source import Form, Source
from hubfs.waiting import Remembered

_log = logging.getLogger(__name__)

_MOVE_TIMEOUT_S = 300.0
"""Who waits for another reader to find out waits no longer."""

T = TypeVar("T")


class _Place(Protocol):
    """Where a way leads. Methods raise `ModelNotFound`, and what keeps `url` from answering."""

    url: str

    def open(self, model: ModelId, kit: Kit) -> Source: ...
    def load(self, model: ModelId, kept: Index, kit: Kit) -> Source: ...
    def latest(self, name: str) -> str: ...
    def versions(self, name: str) -> Sequence[str]: ...
    def example(self) -> str: ...


def make(url: str, means: Means) -> Hub:
    """The hub at an http or https URL. Raises `InvalidConfig`."""
    if not is_default(url):
        return TfHub(url, means)
    moved, kaggle = means.endpoints.get(SHORT), means.hub("kaggle:")
    return TfHub(url, means, endpoint_url=moved, bucket_url=PUBLIC_BUCKET, kaggle=kaggle)


class TfHub(Hub):
    """The hub at `hub_url`, asked by `means`; https://tfhub.dev has other ways to its models, too.

    `endpoint_url`: a host that stands for the hub's. `bucket_url` (`gs://bucket/prefix`) is a bucket that keeps the
    hub's models uncompressed, and `kaggle` a hub that has them under other names: `ways` has the rules. Raises
    `InvalidConfig` for a URL that no hub can have.
    """

    def __init__(
        self,
        hub_url: str,
        means: Means,
        *,
        endpoint_url: str | None = None,
        bucket_url: str | None = None,
        kaggle: Hub | None = None,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._asked_url = endpoint_url or hub_url
        self._means, self._form, http = means, means.form, means.http
        resolver = TfhubResolver(http, self._asked_url, means.form)
        label = label_of(resolver.cached_as)
        if kaggle is not None:  # what another host says instead of Kaggle's is not taken for what Kaggle says
            label += kaggle.label.partition("kaggle")[2]
        self.url, self.host, self.label = without_secrets(hub_url.rstrip("/")), resolver.hub, label
        self.vouched = http.settings.verify
        self.redirect = Redirect(resolver, self.label, means)
        self._bucket = None if bucket_url is None else PublicBucket(means.gcs, bucket_url, self.label)
        self._kaggle = kaggle
        self._places: dict[Way, _Place] = {Way.HUB: self.redirect}
        if self._bucket is not None:
            self._places[Way.BUCKET] = self._bucket
        if kaggle is not None:
            self._places[Way.KAGGLE] = AtKaggle(kaggle, self.label, bundled.bundled_catalogue, http.cancellation, timer)
        self._tried = Tried(timer)
        self._moves: Remembered[tuple[ModelId, Way], str] = Remembered(
            http.cancellation, ttl_s=REST_S, timeout_s=_MOVE_TIMEOUT_S, timer=timer
        )
        public = is_default(hub_url)
        known = CatalogProvider(
            http.cancellation,
            file=means.catalog,
            fetch=lambda etag: document.fetch(http, self._asked_url, etag=etag),
            bundled=bundled.bundled_catalogue if public and means.catalog is None else None,
            hub=self.url,
        )
        self.names = Handles(self.url, known, self._readme if public else None)

    def _readme(self, catalog: Catalog, name: str) -> bytes:
        ways = {version: self._tried.way_of(ModelId(name, version)) for version in catalog.versions(name)}
        found = {version: way.value for version, way in ways.items() if way is not None}
        return readme(name, catalog, self.ways(), found)

    def local(self, model: ModelId) -> Source | None:
        """The model as tensorflow_hub extracted it on this machine, if it did, and it is whole."""
        directory = self._means.extracted_dir
        if directory is None:
            return None
        return find_extracted(directory, self.label, model, spellings([self.url], str(model)))

    def open(self, model: ModelId, kit: Kit) -> Source:
        """The model by the first way that leads to it."""
        way, source = self._first(self._ways(model.name), str(model), lambda way: self._open(model, way, kit))
        self._tried.found(model, way)
        return source

    def _open(self, model: ModelId, way: Way, kit: Kit) -> Source:
        return self._places[way].open(model, self._kit(model, way, kit))

    def _kit(self, model: ModelId, way: Way, kit: Kit) -> Kit:
        """A kit for files of which a reader finds out that another way has them, if its own goes away."""
        if len(self._places) == 1:
            return kit

        def elsewhere() -> str:
            return self._moves.get((model, way), lambda: self._elsewhere(model, way, kit))

        return kit.showing(partial(moving, elsewhere=elsewhere))

    def _elsewhere(self, model: ModelId, way: Way, kit: Kit) -> str:
        """The name of another way that has the model now, if its own does not even give what is there; else ""."""
        try:
            self._places[way].example()
        except (AccessDenied, TimedOut, Unavailable) as error:
            gone = Shut(str(error)) if isinstance(error, AccessDenied) else error
        except (NotFound, Damaged):
            return ""  # it answers
        else:
            return ""
        self._tried.failed(way, gone)
        others = [other for other in self._ways(model.name) if other is not way]
        try:
            found, _ = self._first(others, str(model), lambda other: self._open(model, other, kit))
        except (NotFound, AccessDenied, TimedOut, Unavailable, Damaged):
            return ""
        _log.warning("%s is read by %s from now on: %s", model, found.value, gone)
        return found.value

    def load(self, model: ModelId, kept: Index, kit: Kit) -> Source:
        """The model as the cache has kept it, by the way that it came."""
        way = Way.HUB
        if "at" in kept:
            way = Way.KAGGLE
        elif self._bucket is not None and self._bucket.has_kept(kept):
            way = Way.BUCKET
        source = self._places[way].load(model, kept, self._kit(model, way, kit))
        self._tried.found(model, way)
        return source

    def alias(self, name: str) -> str:
        """The version to which the hub redirects, or the highest that counting up finds, or that another way has."""
        return self._first(self._ways(name), name, lambda way: self._places[way].latest(name))[1]

    def versions(self, name: str) -> Sequence[str]:
        """The versions that the first way has which has any; the hub's by counting up, a request for each."""

        def ask(way: Way) -> Sequence[str]:
            found = self._places[way].versions(name)
            if not found:
                raise ModelNotFound(f"it has no version of {name}")
            return found

        with suppress(ModelNotFound):
            return self._first(self._ways(name), name, ask)[1]
        return ()

    def folder(self, model: ModelId) -> str:
        """The folder of the public bucket, else of the one that the hub names."""
        if self._bucket is not None:
            with suppress(NotFound, AccessDenied, TimedOut, Unavailable, Damaged):
                return self._bucket.folder(model)
        return self.redirect.folder(model)

    def ways(self) -> Sequence[WayTold]:
        """The ways to models, in their order."""
        if len(self._places) == 1:
            return ()
        ways = ways_to(Kind.MODEL, self._form, self._places)
        return self._tried.told({way: redacted(self._places[way].url) for way in ways})

    def checks(self) -> Iterator[Check]:
        """The hub, and the store to which hubs lead for models in the uncompressed form; the other ways."""
        yield Check(
            "hub",
            redacted(self.host),
            lambda: f"status {self._means.http.reply(self._asked_url, max_body_bytes=1).status}",
            "see the proxy above, and whether --hub names a hub that there is",
            vital=len(self._places) == 1,
        )
        if self._bucket is not None and self._form is not Form.COMPRESSED:
            yield Check(
                "public bucket",
                self._bucket.url,
                self._bucket.example,
                "models are asked for at the hub itself: --format compressed does not try the bucket",
                vital=False,
            )
        if self._form is not Form.COMPRESSED:
            store = self._means.gcs.endpoint_url
            yield Check(
                "bucket",
                redacted(store),
                lambda: f"status {self._means.http.reply(store, max_body_bytes=1).status}",
                "models that are hosted uncompressed cannot be read: --format compressed asks for archives",
                vital=False,
            )
        for check in self._kaggle.checks() if self._kaggle is not None else ():
            yield replace(check, subject=Way.KAGGLE.value, vital=False)

    def _ways(self, name: str) -> Sequence[Way]:
        return ways_to(kind_of(name), self._form, self._places)

    def _first(self, ways: Sequence[Way], what: str, ask: Callable[[Way], T]) -> tuple[Way, T]:
        """The first of the ways that answers a question about `what`, and its answer.

        Raises the error that the ways end with, and `Cancelled`.
        """
        failed = self._tried.resting(ways)
        while isinstance(step := next_step(ways, failed), Way):
            found = self._asked(step, ask, alone=len(self._places) == 1)
            if not isinstance(found, HubfsError):
                self._tried.answered(step, what)
                return step, found
            failed[step] = found
            self._tried.failed(step, found)
            if len(self._places) > 1 and rests_after(found):
                _log.warning("%s; %s is left alone for %g s", found, step.value, REST_S)
        raise step

    def _asked(self, way: Way, ask: Callable[[Way], T], *, alone: bool) -> T | HubfsError:
        """The answer of a way, or why there is none. Raises `Cancelled`, and what is no answer."""
        try:
            return ask(way)
        except AccessDenied as refused:
            return refused if alone or _lets_in(self._places[way]) else Shut(f"{refused}; as of a model that is there")
        except (NotFound, TimedOut, Unavailable, Damaged) as error:
            return error


def _lets_in(place: _Place) -> bool:
    """Whether a place does not refuse a model that is there. Raises `Cancelled`."""
    try:
        place.example()
    except AccessDenied:
        return False
    except (NotFound, TimedOut, Unavailable, Damaged):
        pass  # it does not say
    return True
