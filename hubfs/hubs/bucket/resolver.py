"""A bucket as a hub: the models that are stored below a prefix, by their handles, without any server."""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from hubfs.blobs.gcs.client import GcsClient, GcsFolder
from hubfs.blobs.gcs.object import bucket_and_name
from hubfs.blobs.http.url import redacted
from hubfs.blobs.retry import Permanent
from hubfs.catalogue.handle import Kind, is_version, kind_of, possible_models, version_age
from hubfs.errors import InvalidConfig, InvalidHandle, ModelNotFound, NotFound
from hubfs.hubs.resolver import Form, Location
from hubfs.model_id import ModelId

_BUCKET = re.compile(r"[a-z\d][a-z\d._-]*[a-z\d]", re.ASCII)
_ROOT_FILES = ("saved_model.pb", "saved_model.pbtxt", "tfhub_module.pb", "model.json", "model.tflite")
"""A folder with one of these is a model."""
_UNCOMPRESSED = "uncompressed/"
"""A model may be in this folder of its own, beside what else is kept of it."""
_ARCHIVES = (".tar.gz", ".tgz", ".tar")
"""How the name of a model's archive goes on after the handle, the preferred one first; `_ARCHIVES_START` is common."""
_ARCHIVES_START = ".t"
_TYPED = {kind.value for kind in Kind} - {Kind.MODEL.value}


class GcsResolver:
    """Finds models below `hub_url` (`gs://bucket/prefix`, or `gs://bucket` alone) by listing. Remembers nothing.

    The model google/spice/2 is the folder `<prefix>/google/spice/2/` if it holds a model's files, or the folder
    `uncompressed/` in it, or the archive `<prefix>/google/spice/2.tar.gz` (`.tgz`, `.tar`). `form` is the hosting form
    to look for; None prefers a folder. Raises `InvalidConfig` for a URL that no bucket can have.

    Everything here raises `Unavailable` when there is no such bucket, and `Damaged` for answers that are no listings,
    besides what `Resolver` says.
    """

    lists = True

    def __init__(self, client: GcsClient, hub_url: str, form: Form | None = None) -> None:
        self._client = client
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

    @property
    def hub(self) -> str:
        """See `Resolver`."""
        return self._url("").rstrip("/")

    @property
    def cached_as(self) -> str:
        """See `Resolver`: certificates of buckets are verified, always."""
        return self.hub

    def resolve(self, handle: ModelId, form: Form | None = None) -> Location:
        """See `Resolver`. One listing for a folder, one more for an archive."""
        wanted = form or self._form
        tried = []
        for candidate, find in ((Form.UNCOMPRESSED, self._uncompressed), (Form.COMPRESSED, self._compressed)):
            if wanted in (None, candidate):
                answer = find(str(handle))
                if isinstance(answer, Location):
                    return answer
                tried.append(f"{candidate.value}: {answer}")
        reason = "; ".join(tried) or "a bucket hosts folders and archives, and no other form"
        raise ModelNotFound(f"{self.hub} has no model {handle} ({reason})")

    def latest(self, name: str) -> str:
        """See `Resolver`: the highest of `versions`."""
        versions = self.versions(name)
        if not versions:
            raise ModelNotFound(f"{self.hub} has no version of {name} (nothing numbered is below {self._url(name)}/)")
        return versions[-1]

    def versions(self, name: str) -> Sequence[str]:
        """See `Resolver`: numbered folders and archives, all that there are. One listing."""
        # Only folders in a typed name may be numbers without being versions; what they hold then tells.
        typed = not _TYPED.isdisjoint(_segments(name)[1:2])
        found = self._models_in(name) if typed else self._names_in(name)
        versions = {text for text in found if _can_be_model(f"{name}/{text}")}
        return sorted(versions, key=version_age)

    def children(self, folder: str) -> Sequence[str]:
        """See `Resolver`: the names that can lead to a model, sorted; archives by their version. One listing."""
        start = f"{folder}/" if folder else ""
        return sorted({name for name in self._names_in(folder) if _can_lead_on(start + name)})

    def _uncompressed(self, path: str) -> Location | str:
        """The folder that the model at `path` is in, or why there is none."""
        folder = self._folder(f"{path}/")
        start = f"{self._prefix}{path}/"
        names = {obj.name[len(start) :] for obj in folder.objects}
        if not names.isdisjoint(_ROOT_FILES):
            return Location(self._url(path), Form.UNCOMPRESSED)
        if start + _UNCOMPRESSED in folder.prefixes:
            return Location(self._url(path + "/" + _UNCOMPRESSED).rstrip("/"), Form.UNCOMPRESSED)
        return f"{self._url(path)}/ holds neither {', '.join(_ROOT_FILES)} nor {_UNCOMPRESSED}"

    def _compressed(self, path: str) -> Location | str:
        """The archive of the model at `path`, or why there is none."""
        names = {obj.name for obj in self._folder(path + _ARCHIVES_START).objects}
        for ending in _ARCHIVES:
            if f"{self._prefix}{path}{ending}" in names:
                return Location(self._url(path + ending), Form.COMPRESSED)
        return f"there is no {self._url(path)} with {', '.join(_ARCHIVES)}"

    def _names_in(self, path: str) -> Iterator[str]:
        """What is directly below `path`: folders, and archives without their ending."""
        if path and not _can_lead_on(path):
            return
        start = f"{path}/" if path else ""
        skip = len(self._prefix + start)
        folder = self._folder(start)
        for name in folder.prefixes:
            child = name[skip:-1]
            if "/" not in child:  # a store that does not do what it was asked to
                yield child
        yield from _archived(start, [obj.name[skip:] for obj in folder.objects])

    def _models_in(self, path: str) -> Iterator[str]:
        """The names of the models directly below `path`, which is not the root."""
        if not _can_lead_on(path):
            return
        start = f"{self._prefix}{path}/"
        with self._the_bucket_exists():
            names = [obj.name[len(start) :] for obj in self._client.list(self._bucket, start)]
        for name in names:
            model, _, rest = name.partition("/")
            if rest in _ROOT_FILES or rest.startswith(_UNCOMPRESSED):
                yield model
        yield from _archived(f"{path}/", names)

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
                f"there is no bucket gs://{self._bucket}, so {self.hub} is no hub: check --hub ({error})"
            ) from error

    def _url(self, path: str) -> str:
        return f"gs://{self._bucket}/{self._prefix}{path}"


def _segments(path: str) -> list[str]:
    return path.split("/") if path else []


def _archived(start: str, names: Iterable[str]) -> Iterator[str]:
    """The versions that `names` are archives of, in the folder `start`, which ends in '/' unless it is the root."""
    for name in names:
        version = next((name.removesuffix(ending) for ending in _ARCHIVES if name.endswith(ending)), "")
        if is_version(version) and _can_be_model(start + version):
            yield version


def _can_be_model(path: str) -> bool:
    """Whether the grammar of handles lets `path` be a model."""
    return any(not rest for _, rest in _candidates(path) or ())


def _can_lead_on(path: str) -> bool:
    """Whether the grammar of handles lets `path` be a model, or lead to one."""
    candidates = _candidates(path)
    # In an untyped name the first number is the version, and what follows it belongs to the model.
    return candidates is not None and not any(
        kind_of(handle.name) is Kind.MODEL and rest for handle, rest in candidates
    )


def _candidates(path: str) -> Sequence[tuple[ModelId, Sequence[str]]] | None:
    try:
        return possible_models(path.split("/"))
    except InvalidHandle:
        return None
