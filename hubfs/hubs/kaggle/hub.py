"""Kaggle Models: every framework, variation and version of a model as a directory of files, read by range."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from hubfs.blobs.blob import Blob
from hubfs.blobs.http.client import HttpClient
from hubfs.blobs.lazy import LazyBlob
from hubfs.blobs.retry import Permanent
from hubfs.blobs.stamp import UNDATED, Stamp
from hubfs.cache.disk.indexes import Index
from hubfs.errors import AccessDenied, Cancelled, Damaged, HubfsError, InvalidConfig, ModelNotFound, NotFound, quoted
from hubfs.hubs.hub import Check, Hub, Means, label_of, missing
from hubfs.hubs.kaggle import names
from hubfs.hubs.kaggle.account import Account
from hubfs.hubs.kaggle.api import KaggleApi
from hubfs.hubs.kaggle.credentials import find_credentials
from hubfs.hubs.kaggle.dialects import Dialect, dialect_of
from hubfs.hubs.kaggle.named import KaggleNames
from hubfs.hubs.kaggle.packed import comes_packed, find_archive
from hubfs.hubs.kaggle.refusals import Refused, meaning_of
from hubfs.model_id import ModelId
from hubfs.sources.archive.origin import HttpArchive
from hubfs.sources.files import Manifest, RemoteFile
from hubfs.sources.hosted import plain_blob
from hubfs.sources.kit import Kit
from hubfs.sources.source import Form, Source

_MOST_VERSIONS = 1000
"""Of versions that are counted and not listed, the newest so many are shown."""

_ZIP = b"PK\x03\x04"

_EXAMPLE = ModelId("google/yamnet/tensorFlow2/yamnet", "1")


def make(url: str, means: Means) -> Hub:
    """The hub at `kaggle:` or `kaggle:OWNER`. Raises `InvalidConfig`."""
    owner = url.removeprefix("kaggle:").strip("/")
    if owner and not names.is_slug(owner):
        raise InvalidConfig(f"'{quoted(url)}' is no hub of Kaggle: give kaggle: or kaggle:OWNER")
    endpoint, given = means.endpoints.get("kaggle"), means.headers
    signs_in = any(name.lower() == "authorization" for name in given)
    found = None if signs_in else find_credentials(means.environ, Path(means.environ.get("HOME", "/")))
    account = Account(found, given, endpoint, means.http.cancellation)
    dialect = dialect_of(means.environ.get("HUBFS_KAGGLE_DIALECT", ""), endpoint)
    place = "kaggle" if endpoint is None else f"kaggle+{label_of(endpoint)}"
    return Kaggle(means.http, owner, place, dialect, account=account, form=means.form)


class Kaggle(Hub):
    """The models of Kaggle; with `owner`, the root lists this owner. `place` names the API's host in the cache.

    Nobody can ask Kaggle for a list of owners: without `owner`, the root lists those of models that are known.
    `account` signs in at the API's host, and at no other. `form` is the one that the user wants models in.
    """

    lists = True
    names = KaggleNames()

    def __init__(
        self,
        client: HttpClient,
        owner: str,
        place: str,
        dialect: Dialect,
        *,
        account: Account,
        form: Form | None = None,
    ) -> None:
        self.url, self.host, self.vouched = f"kaggle:{owner}", dialect.host, client.settings.verify
        self._client, self._owner, self._account, self._form = client, owner, account, form
        self._api = KaggleApi(client, dialect, account)
        self.label = place if self.vouched else f"unverified+{place}"

    def open(self, model: ModelId, kit: Kit) -> Source:
        """The model's files, by one list of them, of as many pages as it takes; many small ones by its archive."""
        with self._refused(model.name, model.version), missing(f"{self.url} has no model {model}"):
            listed = self._api.files(model)
            if not listed:
                raise ModelNotFound("it lists no file")
        files: dict[str, RemoteFile] = {}
        for item in listed:
            path, size_bytes = item.get("name"), item.get("size", item.get("totalBytes", 0))
            if not isinstance(path, str) or type(size_bytes) is not int or size_bytes < 0:
                raise Damaged(f"{self.url}: the list of the files of {model} names a file without a size")
            if path in files and files[path].size_bytes != size_bytes:  # a page may come twice
                raise Damaged(f"{self.url}: the list of the files of {model} names {path!r} with two sizes")
            pin = f"kaggle:{model}/{path}#{size_bytes}"
            files[path] = RemoteFile(size_bytes, pin, self._opener(model, path, pin, size_bytes), stamp=_stamp(item))
        packed = comes_packed([file.size_bytes for file in files.values()], self._form)
        archive = self._packed(model) if packed else None
        if archive is not None:
            return kit.archive(self.label, model, archive)
        return kit.files(self.label, model, Manifest(self._page(model.name), Form.FILES, files))

    def load(self, model: ModelId, kept: Index, kit: Kit) -> Source:
        """The model as the cache has kept it."""
        if kept["form"] == Form.COMPRESSED.value:
            return kit.kept_archive(self.label, model, kept, partial(self._archive, model))
        manifest = Manifest.from_json(model, kept, partial(self._opener, model))
        return kit.kept_files(self.label, model, manifest)

    def alias(self, name: str) -> str:
        """The newest version of a variation, as Kaggle says."""
        with self._refused(name), missing(f"{self.url} has no version of {name}"):
            return self._api.latest(name)

    def versions(self, name: str) -> Sequence[str]:
        """The versions of a variation. Where Kaggle does not list them: 1 to the newest."""
        try:
            numbers = self._api.versions(name)
        except AccessDenied:
            last = int(self.alias(name))
            numbers = range(max(1, last - _MOST_VERSIONS + 1), last + 1)
        except NotFound:
            return ()
        return [str(number) for number in sorted({*numbers}) if names.is_version(str(number))]

    def children(self, folder: str) -> Sequence[str]:
        """The names below an owner, a model, a framework or a variation; at the root, the owner of this hub."""
        if not folder:
            return [self._owner] if self._owner else ()
        owner, *rest = folder.split("/")
        if len(rest) == names.NAME_SEGMENTS - 1:
            return self.versions(folder)
        paths = self._paths(owner)
        found = {path[len(rest)] for path in paths if list(path[: len(rest)]) == rest and len(path) > len(rest)}
        return sorted(found)

    def below(self, folder: str) -> Sequence[str]:
        """The variations of an owner, by one list."""
        owner = folder.partition("/")[0]
        found = ("/".join((owner, *path)) for path in self._paths(owner) if len(path) == names.NAME_SEGMENTS - 1)
        return [name for name in found if name.startswith(f"{folder}/")]

    def search(self, words: Sequence[str], most: int) -> Sequence[str]:
        """The newest versions of the variations of what Kaggle finds, of the owner of this hub if it has one."""
        return [*islice(self._handles_for(" ".join(words)), most)]

    def _handles_for(self, words: str) -> Iterator[str]:
        for model in self._api.models_for(words):
            owner = str(model.get("ref")).partition("/")[0]
            if not names.is_slug(owner) or owner != (self._owner or owner):
                continue
            for found in _listed([model]):
                if found.newest is not None:
                    yield "/".join((owner, *found.path, str(found.newest)))

    def checks(self) -> Iterator[Check]:
        """The API, asked for a model that everybody may read, or for those of the owner."""
        url, advice = self.host, "see the proxy above; HUBFS_KAGGLE_ENDPOINT names another host of Kaggle's API"

        def ask() -> str:
            if self._owner:
                found = f"{len(self.children(self._owner))} models of {self._owner}"
            else:
                found = f"{_EXAMPLE.name} has version {self._api.latest(_EXAMPLE.name)}"
            return f"{found} (hubfs signs in by {self._account.source})"

        yield Check("hub", url, ask, advice)

    def _paths(self, owner: str) -> Sequence[tuple[str, ...]]:
        try:
            return [found.path for found in _listed(self._api.models_of(owner))]
        except NotFound:
            return ()

    def _archive(self, model: ModelId) -> HttpArchive:
        """The archive of a model that came so before. Raises `Permanent` where there is none any more."""
        archive = self._packed(model)
        if archive is None:
            raise Permanent(f"{self._page(model.name)} came as an archive, and does no longer: mount it anew")
        return archive

    def _packed(self, model: ModelId) -> HttpArchive | None:
        with self._refused(model.name, model.version):
            return find_archive(self._client, self._api.address(model), partial(self._api.locate, model))

    def _opener(self, model: ModelId, path: str, pin: str, size_bytes: int) -> Callable[[], Blob]:
        if pin != f"kaggle:{model}/{path}#{size_bytes}":
            raise ValueError(f"{pin!r} does not name {path!r} of {model}")

        def connect() -> Blob:
            # The blob remembers the signed URL: Kaggle is asked again before it expires, and when the store refuses it.
            try:
                with self._refused(model.name, model.version):
                    address = self._api.address(model, path)
                    blob = plain_blob(self._client, address, {}, partial(self._api.locate, model, path))
            except NotFound as gone:
                raise Permanent(f"{gone}, though it was listed") from gone
            if blob.size_bytes != size_bytes:
                self._client.forget(address)  # what is there when the store was mended is asked for anew
                zipped = " and is a zip, in which Kaggle keeps some files" if blob.head.startswith(_ZIP) else ""
                raise Damaged(
                    f"{pin} has {blob.size_bytes} bytes{zipped}: Kaggle's list of the files says {size_bytes}"
                )
            return blob

        return lambda: LazyBlob(pin, size_bytes, connect, self._client.cancellation)

    @contextmanager
    def _refused(self, name: str, version: str | None = None) -> Iterator[None]:
        """Refusals are told apart, and say what to do."""
        try:
            yield
        except Refused as refused:
            raise meaning_of(refused, name, self._account.source, partial(self._is_listed, name, version)) from refused

    def _is_listed(self, name: str, version: str | None) -> bool | None:
        """Whether the list of the owner's models has a variation, and may have the version; None without a list."""
        owner, _, path = name.lower().partition("/")
        try:
            listed = [found for found in _listed(self._api.models_of(owner)) if "/".join(found.path).lower() == path]
        except Cancelled:
            raise
        except HubfsError:
            return None
        return any(version is None or found.newest is None or int(version) <= found.newest for found in listed)

    @staticmethod
    def _page(name: str) -> str:
        return f"https://www.kaggle.com/models/{name}"


class _Listed(NamedTuple):
    """A model, or a framework and a variation of it, in the list of an owner; `newest`: its version, if it is told."""

    path: tuple[str, ...]
    newest: int | None = None


def _listed(models: Iterable[Mapping[str, Any]]) -> Iterator[_Listed]:
    """Each model, and each of its instances."""
    for model in models:
        slug, instances = model.get("slug"), model.get("instances")
        if not isinstance(slug, str) or not names.is_slug(slug):
            continue
        yield _Listed((slug,))
        for instance in instances if isinstance(instances, list) else ():
            if not isinstance(instance, dict):
                continue
            framework = names.framework(str(instance.get("framework")))
            variation, newest = instance.get("slug"), instance.get("versionNumber")
            if framework is not None and isinstance(variation, str) and names.is_slug(variation):
                yield _Listed((slug, framework, variation), newest if type(newest) is int else None)


def _stamp(item: Mapping[str, Any]) -> Stamp:
    """When a file was made, as far as the list says."""
    text = item.get("creationDate")
    try:
        made = datetime.fromisoformat(text.replace("Z", "+00:00")) if isinstance(text, str) else None
        return UNDATED if made is None or made.tzinfo is None else Stamp(int(made.timestamp()))
    except (ValueError, OverflowError):
        return UNDATED
