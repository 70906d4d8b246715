"""The Hugging Face Hub: a commit of a repository is a directory of files, read by range and held against hashes."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from urllib.parse import urlsplit

from hubfs.blobs.blob import Blob
from hubfs.blobs.checksums import Checksum
from hubfs.blobs.http.blob import HttpBlob
from hubfs.blobs.http.client import HttpClient
from hubfs.blobs.http.object import HttpObject
from hubfs.blobs.lazy import LazyBlob
from hubfs.blobs.retry import Permanent
from hubfs.cache.disk.indexes import Index
from hubfs.errors import InvalidConfig, NotFound, quoted
from hubfs.hubs.hub import Budget, Check, Hub, Means, label_of, missing
from hubfs.hubs.huggingface import names
from hubfs.hubs.huggingface.about import ABOUT
from hubfs.hubs.huggingface.api import HUB, HubBlob, HuggingFaceApi
from hubfs.hubs.huggingface.credentials import Credentials, find_credentials
from hubfs.hubs.huggingface.named import HuggingFaceNames
from hubfs.hubs.huggingface.trees import Listed
from hubfs.model_id import ModelId
from hubfs.sources.files import Manifest, RemoteFile
from hubfs.sources.kit import Kit
from hubfs.sources.source import Form, Source

_SCHEME = "hf"
_THIS_MACHINE = ("localhost", "127.0.0.1", "::1")
_EXAMPLE = "openai-community/gpt2"
_CONNECTIONS = 4
"""Made with the first question. A program's first model takes three questions, one after the other, and then small
files side by side: each would wait for a connection of its own."""


def make(url: str, means: Means) -> Hub:
    """The hub at `hf:`, `hf:NAMESPACE`, or https://huggingface.co. Raises `InvalidConfig`."""
    parts = urlsplit(url)
    namespace = parts.path.strip("/")
    if parts.scheme != _SCHEME and parts.hostname not in ABOUT.hosts:
        raise InvalidConfig(f"'{quoted(url)}' is no hub of Hugging Face")
    if namespace and not names.is_id(namespace):
        raise InvalidConfig(f"'{quoted(url)}' is no hub of Hugging Face: give hf: or hf:NAMESPACE")
    endpoint = means.endpoints.get(_SCHEME, HUB)
    return HuggingFace(means.http, namespace, endpoint, _credentials(means, endpoint))


def _credentials(means: Means, endpoint: str) -> Credentials:
    """What signs in at the endpoint: what the user said of this hub, else what huggingface_hub would."""
    host = urlsplit(endpoint)
    if host.scheme != "https" and host.hostname not in _THIS_MACHINE:
        return Credentials("no credentials, which are not sent by http to another machine", {})
    if any(name.lower() == "authorization" for name in means.headers):
        return Credentials("the token or the headers of this hub", means.headers)
    return find_credentials(means.environ, means.headers)


class HuggingFace(Hub):
    """The repositories of the hub at `endpoint`; with `namespace`, the root lists this one.

    Nobody can ask for a list of namespaces: without `namespace`, the root lists those of models that are known. The
    credentials go to the endpoint, and to no other host.
    """

    lists = True
    holds_aliases = True

    def __init__(self, client: HttpClient, namespace: str, endpoint: str, credentials: Credentials) -> None:
        self.url, self.host, self.vouched = f"{_SCHEME}:{namespace}", endpoint, client.settings.verify
        self._client, self._namespace, self.names = client, namespace, HuggingFaceNames(namespace)
        self._api = HuggingFaceApi(client, endpoint, credentials)
        place = "huggingface" if endpoint == HUB else f"huggingface+{label_of(endpoint)}"
        self.label = place if self.vouched else f"unverified+{place}"

    def open(self, model: ModelId, kit: Kit) -> Source:
        """The files of a commit, by one list of them, of as many pages as it takes."""
        with missing(f"{self.url} has no {model}"):
            listed = self._api.tree(model)
        files = {path: self._file(model, path, file) for path, file in listed.items()}
        return kit.files(
            self.label, model, Manifest(f"{self._api.page(model.name)}/tree/{model.version}", Form.FILES, files)
        )

    def load(self, model: ModelId, kept: Index, kit: Kit) -> Source:
        """The commit as the cache has kept it."""

        def opener(path: str, pin: str, size_bytes: int) -> Callable[[], Blob]:
            checksum = Checksum(*pin.removeprefix(_pin(model, path, "")).split(":", 1))
            file = self._file(model, path, Listed(size_bytes, checksum))
            if file.pin != pin:
                raise ValueError(f"{pin!r} does not name {path!r} of {model}")
            return file.open

        return kit.kept_files(self.label, model, Manifest.from_json(model, kept, opener))

    def alias(self, name: str) -> str:
        """The commit of the main branch of a repository. Of an alias (`BAAI/bge-m3@v1`), where its symlink leads."""
        repo, revision = names.revision_of(name)
        self._client.connect_ahead(self.host, _CONNECTIONS)
        with missing(f"{self.url} has no {revision} of {repo}"):
            found = self._api.revision(repo, revision)
        return names.target(name, found.repo, found.commit) if "@" in name else found.commit

    def children(self, folder: str) -> Sequence[str]:
        """The repositories of a namespace, and the branches and tags of a repository (`BAAI/bge-m3@`); at the root, the
        namespace of this hub.
        """
        if not folder:
            return [self._namespace] if self._namespace else ()
        repo = folder.removesuffix(names.revisions_of(""))
        try:
            if repo != folder:
                return [*self._api.revisions_of(repo)] if names.is_repo(repo) else ()
            return self._api.repos_of(folder) if names.is_repo(f"{folder}/name") else ()
        except NotFound:
            return ()

    def search(self, words: Sequence[str], most: int) -> Sequence[str]:
        """The repositories of models that the hub finds, those first that are fetched most."""
        return self._api.repos_for(" ".join(words), self._namespace, most)

    def checks(self) -> Iterator[Check]:
        """The API, asked for a repository that everybody may read, or for those of the namespace."""

        def ask() -> str:
            if self._namespace:
                found = f"{len(self.children(self._namespace))} repositories of {self._namespace}"
            else:
                found = f"{_EXAMPLE} is at commit {self._api.revision(_EXAMPLE, names.MAIN).commit}"
            return f"{found} (hubfs signs in by {self._api.signs_in_by})"

        yield Check("hub", self.host, ask, "see the proxy above; HF_ENDPOINT names another host")

    def budgets(self) -> Sequence[Budget]:
        """Those of questions and of files, which the hub counts apart."""
        return [*self._api.budgets.values()]

    def _file(self, model: ModelId, path: str, file: Listed) -> RemoteFile:
        pin = _pin(model, path, f"{file.checksum.algorithm}:{file.checksum.value}")

        def open_blob() -> Blob:
            if not file.in_lfs:
                return HubBlob(pin, file.size_bytes, partial(self._read, model, path))
            connect = partial(self._connect, model, path, file)
            return LazyBlob(pin, file.size_bytes, connect, self._client.cancellation)

        return RemoteFile(file.size_bytes, pin, open_blob, file.checksum)

    def _read(self, model: ModelId, path: str, start_bytes: int, end_bytes: int) -> bytes:
        with _listed():
            return self._api.read(model, path, start_bytes, end_bytes)

    def _connect(self, model: ModelId, path: str, file: Listed) -> Blob:
        """A file of LFS where the hub says that it is, as long as the URL there holds."""
        address, locate = self._api.address(model, path), partial(self._api.locate, model, path, file)
        with _listed():
            located = locate()
        page = "text/html" if path.endswith((".html", ".htm")) else ""
        known = HttpObject(
            address, located, file.size_bytes, None, None, accepts_ranges=True, content_type=page, head=b""
        )
        return HttpBlob(self._client, address, self._api.headers, known=known, locate=locate)


@contextmanager
def _listed() -> Iterator[None]:
    """A listed file is never `NotFound`: a program that reads the directory would take ENOENT for its end."""
    try:
        yield
    except NotFound as gone:
        raise Permanent(f"{gone}, though it was listed") from gone


def _pin(model: ModelId, path: str, checksum: str) -> str:
    """Names the bytes of a file, for messages and for the cache."""
    return f"hf:{model.name}@{model.version}/{path}#{checksum}"
