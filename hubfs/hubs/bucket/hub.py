"""A bucket as a hub: the models that are stored below a prefix, by their handles, without any server."""

import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hubfs.blobs.gcs.client import GcsClient
from hubfs.blobs.gcs.object import GcsFolder, bucket_and_name
from hubfs.blobs.http.url import redacted
from hubfs.blobs.retry import Permanent
from hubfs.cache.disk.indexes import Index
from hubfs.errors import AccessDenied, EntryNotFound, InvalidConfig, ModelNotFound, NotFound
from hubfs.formats.index_file import SUFFIX
from hubfs.hubs.hub import Check, Hub, Means, label_of
from hubfs.hubs.names import names_at
from hubfs.hubs.place import Ambiguous, Folder, InModel, Place
from hubfs.model_id import ModelId
from hubfs.sources.archive.origin import BucketArchive
from hubfs.sources.bucket import kept_bucket, list_bucket
from hubfs.sources.kit import Kit
from hubfs.sources.source import Form, Source

_log = logging.getLogger(__name__)

_BUCKET = re.compile(r"[a-z\d][a-z\d._-]*[a-z\d]", re.ASCII)
_UNCOMPRESSED = "uncompressed/"
"""A model may be in this folder of its own, beside what else is kept of it."""
_ARCHIVES = (".tar.gz", ".tgz", ".tar")
"""How the name of a model's archive goes on after the handle, the preferred one first; `_ARCHIVES_START` is common."""
_ARCHIVES_START = ".t"


def make(url: str, means: Means) -> Hub:
    """The hub at a gs URL. Raises `InvalidConfig`, also for credentials that are of no use."""
    means.gcs.load_credentials()  # else the first reader would find that
    return Bucket(url, gcs=means.gcs, form=means.form, catalog=means.catalog)


class Bucket(Hub):
    """The models below `hub_url` (`gs://bucket/prefix`, or `gs://bucket` alone), found by listing.

    The model google/spice/2 is the folder `<prefix>/google/spice/2/` if it holds a model's files, or the folder
    `uncompressed/` in it, or the archive `<prefix>/google/spice/2.tar.gz` (`.tgz`, `.tar`). `form` is the hosting form
    to look for; None prefers a folder. `catalog` is a file in which models are written down. Raises `InvalidConfig`
    for a URL that no bucket can have.

    Methods that ask raise `Unavailable` when there is no such bucket, and `Damaged` for answers that are no listings,
    besides what `Hub` says.
    """

    lists = True

    def __init__(self, hub_url: str, *, gcs: GcsClient, form: Form | None = None, catalog: Path | None = None) -> None:
        self._client = gcs
        self._form = form
        try:
            self._bucket, prefix = bucket_and_name(hub_url.rstrip("/"))
        except ValueError:
            self._bucket = prefix = ""
        if not _BUCKET.fullmatch(self._bucket) or not prefix.isprintable():
            raise InvalidConfig(
                f"{redacted(hub_url)!r} is not a hub in a bucket: give gs://BUCKET or gs://BUCKET/PREFIX"
            )
        self._prefix = f"{prefix}/" if prefix else ""
        self.url, self.host = self._url("").rstrip("/"), gcs.endpoint_url
        self.label = label_of(self.url)
        self.names = names_at(self.url, gcs.cancellation, catalog)

    def open(self, model: ModelId, kit: Kit) -> Source:
        """The model's folder, else its archive. One listing for either. A folder that does not let us in is left."""
        tried: list[str] = []
        refused: NotFound | AccessDenied | None = None
        for form, find in ((Form.UNCOMPRESSED, self._uncompressed), (Form.COMPRESSED, self._compressed)):
            if self._form not in (None, form):
                continue
            found, reason = find(str(model))
            if found is None:
                tried.append(f"{form.value}: {reason}")
                continue
            try:
                if isinstance(found, BucketArchive):
                    return kit.archive(self.label, model, found)
                return kit.files(self.label, model, list_bucket(self._client, model, found))
            except (NotFound, AccessDenied) as error:
                if form is Form.COMPRESSED or self._form is not None:
                    raise
                refused = error
                _log.warning("%s: %s; asking for the compressed form", model, refused)
        if refused is not None:
            raise refused
        reason = "; ".join(tried) or "a bucket hosts folders and archives, and no other form"
        raise ModelNotFound(f"{self.url} has no model {model} ({reason})")

    def load(self, model: ModelId, kept: Index, kit: Kit) -> Source:
        """The model as the cache has kept it."""
        if Form(kept["form"]) is Form.COMPRESSED:
            return kit.kept_archive(self.label, model, kept, lambda: self._archive(model))
        return kit.kept_files(self.label, model, kept_bucket(self._client, model, kept))

    def alias(self, name: str) -> str:
        """The highest of `versions`."""
        versions = self.versions(name)
        if not versions:
            raise ModelNotFound(f"{self.url} has no version of {name} (nothing numbered is below {self._url(name)}/)")
        return versions[-1]

    def versions(self, name: str) -> Sequence[str]:
        """Numbered folders and archives, all that there are. One listing."""
        # Where a number may be a part of a longer name, what such folders hold tells.
        found = self._names_in(name) if self.names.are_versions_below(name) else self._models_in(name)
        versions = {text for text in found if self._can_be_model(f"{name}/{text}")}
        return sorted(versions, key=self.names.age)

    def children(self, folder: str) -> Sequence[str]:
        """The names that can lead to a model, sorted; archives by their version. One listing."""
        start = f"{folder}/" if folder else ""
        return sorted({name for name in self._names_in(folder) if self._can_lead_on(start + name)})

    def folder(self, model: ModelId) -> str:
        """The model's folder."""
        url, reason = self._uncompressed(str(model))
        if url is None:
            raise ModelNotFound(f"{self.url} has no model {model} ({reason})")
        return url

    def checks(self) -> Iterator[Check]:
        """The bucket."""
        yield Check(
            "hub",
            redacted(self.url),
            lambda: f"{len(self.children(''))} names at its root",
            "see the proxy above, and whether --hub names a hub that there is",
        )

    def _archive(self, model: ModelId) -> BucketArchive:
        """The archive of a model that was found before. Raises `Permanent` where there is none any more."""
        archive, reason = self._compressed(str(model))
        if archive is None:
            raise Permanent(f"{reason}; it had, and what is cached of {model} can still be read")
        return archive

    def _uncompressed(self, path: str) -> tuple[str | None, str]:
        """The URL of the folder that the model at `path` is in, or why there is none."""
        folder = self._folder(f"{path}/")
        start = f"{self._prefix}{path}/"
        names = {obj.name[len(start) :] for obj in folder.objects}
        if not names.isdisjoint(self.names.root_files):
            return self._url(path), ""
        if start + _UNCOMPRESSED in folder.prefixes:
            return self._url(path + "/" + _UNCOMPRESSED).rstrip("/"), ""
        return None, f"{self._url(path)}/ holds neither {', '.join(self.names.root_files)} nor {_UNCOMPRESSED}"

    def _compressed(self, path: str) -> tuple[BucketArchive | None, str]:
        """The archive of the model at `path`, or why there is none. Its index is in the same listing."""
        objects = {obj.name: obj for obj in self._folder(path + _ARCHIVES_START).objects}
        for ending in _ARCHIVES:
            name = f"{self._prefix}{path}{ending}"
            if name in objects:
                return BucketArchive(self._client, self._url(path + ending), objects.get(name + SUFFIX)), ""
        return None, f"there is no {self._url(path)} with {', '.join(_ARCHIVES)}"

    def _names_in(self, path: str) -> Iterator[str]:
        """What is directly below `path`: folders, and archives without their ending."""
        if path and not self._can_lead_on(path):
            return
        start = f"{path}/" if path else ""
        skip = len(self._prefix + start)
        folder = self._folder(start)
        for name in folder.prefixes:
            child = name[skip:-1]
            if "/" not in child:  # a store that does not do what it was asked to
                yield child
        yield from self._archived(start, [obj.name[skip:] for obj in folder.objects])

    def _models_in(self, path: str) -> Iterator[str]:
        """The names of the models directly below `path`, which is not the root."""
        if not self._can_lead_on(path):
            return
        start = f"{self._prefix}{path}/"
        with self._the_bucket_exists():
            names = [obj.name[len(start) :] for obj in self._client.list(self._bucket, start)]
        for name in names:
            model, _, rest = name.partition("/")
            if rest in self.names.root_files or rest.startswith(_UNCOMPRESSED):
                yield model
        yield from self._archived(f"{path}/", names)

    def _folder(self, start: str) -> GcsFolder:
        with self._the_bucket_exists():
            return self._client.folder(self._bucket, self._prefix + start)

    @contextmanager
    def _the_bucket_exists(self) -> Iterator[None]:
        try:
            yield
        except NotFound as error:
            # A listing of nothing is empty. This is not the answer that a model is missing, and must not pass for it.
            raise Permanent(
                f"there is no bucket gs://{self._bucket}, so {self.url} is no hub: check --hub ({error})"
            ) from error

    def _url(self, path: str) -> str:
        return f"gs://{self._bucket}/{self._prefix}{path}"

    def _archived(self, start: str, names: Iterable[str]) -> Iterator[str]:
        """The versions that `names` are archives of, in the folder `start`, which ends in '/' unless it is the root."""
        for name in names:
            version = next((name.removesuffix(ending) for ending in _ARCHIVES if name.endswith(ending)), "")
            if "/" not in version and self._can_be_model(start + version):
                yield version

    def _can_be_model(self, path: str) -> bool:
        """Whether the names let `path` be a model."""
        match self._place(path):
            case InModel(_, inner):
                return not inner
            case Ambiguous(_, candidates):
                return any(not candidate.inner for candidate in candidates)
        return False

    def _can_lead_on(self, path: str) -> bool:
        """Whether the names let `path` be a model, or lead to one."""
        return isinstance(self._place(path), Folder | Ambiguous) or self._can_be_model(path)

    def _place(self, path: str) -> Place | None:
        try:
            return self.names.place(path) if all(path.split("/")) else None  # names of objects may have `//` in them
        except EntryNotFound:
            return None
