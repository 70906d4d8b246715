"""A hub: a kind of place where models live, and one such place. One folder of this room implements it."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from pkgutil import resolve_name
from typing import Protocol, cast
from urllib.parse import quote, urlsplit

from hubfs.blobs.gcs.client import GcsClient
from hubfs.blobs.http.client import HttpClient
from hubfs.cache.disk.indexes import Index
from hubfs.errors import InvalidConfig, ModelNotFound, NotFound
from hubfs.hubs.names import Names
from hubfs.hubs.registry import HUBS, kind_of
from hubfs.model_id import ModelId
from hubfs.sources.kit import Kit
from hubfs.sources.source import Form, Source


@dataclass(frozen=True)
class Check:
    """A question of `hubfs doctor` about a hub. `ask` says how it was answered, or raises `HubfsError`.

    `url` is the address that is asked, for messages and for the proxy. `advice` is for the one who reads of a failure;
    `vital` says whether nothing can be read without an answer.
    """

    subject: str
    url: str
    ask: Callable[[], str]
    advice: str
    vital: bool = True


@dataclass(frozen=True)
class WayTold:
    """What the status says of a way to a hub's models: its name, and the address that is asked.

    `rests`: why it is left alone for now, if so. `answered`: the model or the name that it had last, and when (Unix
    time).
    """

    name: str
    url: str
    rests: str | None = None
    answered: str | None = None
    answered_at_s: float | None = None


@dataclass(frozen=True)
class Budget:
    """What a hub lets be asked, by its last answer: `left` requests of the kind `name` until `ends_at_s` (Unix time).

    `quota`: how many there are in all, where the hub tells.
    """

    name: str
    left: int
    ends_at_s: float
    quota: int | None = None


class Hub(Protocol):
    """Where the models of a hub are, and how they are named. Remembers nothing that may change, but in `names`.

    Implementations derive from this class, and write the methods that have no body here. Methods that ask raise
    `AccessDenied`, `TimedOut`, `Unavailable` and `Cancelled`, besides the errors that each of them names.
    """

    url: str
    """The hub's URL, as the user named it, without credentials."""

    host: str
    """The URL of the host that is asked first, without credentials: a proxy may be in between."""

    label: str
    """The hub's name in the cache: one segment of a path. Bytes of an unverified host have another one."""

    vouched: bool = True
    """Whether certificates say that it is the hub which answers: else nothing is shared with other machines."""

    lists: bool = False
    """Whether `children` has answers. Known without asking."""

    holds_aliases: bool = False
    """Whether what `alias` says holds for longer while a program loads what it led to."""

    names: Names
    """The grammar of its names, and the names that are written down."""

    def open(self, model: ModelId, kit: Kit) -> Source:
        """The model as the hub has it now. Raises `ModelNotFound` when the hub says so, and `Damaged`."""
        ...

    def load(self, model: ModelId, kept: Index, kit: Kit) -> Source:
        """The model as the cache has kept it. Asks nobody. Raises `Damaged`, `KeyError`, `ValueError` for no index."""
        ...

    def alias(self, name: str) -> str:
        """The version that `name` stands for now. Raises `ModelNotFound` when the hub has none."""
        ...

    def local(self, model: ModelId) -> Source | None:  # noqa: ARG002 - for those that have one
        """The model as a client library keeps it on this machine, if it does. Asks nobody; never raises."""
        return None

    def versions(self, name: str) -> Sequence[str]:  # noqa: ARG002 - as in `local`
        """The versions of `name` that the hub is known to have, ascending; perhaps not all, perhaps none."""
        return ()

    def children(self, folder: str) -> Sequence[str]:  # noqa: ARG002 - as in `local`
        """The names directly below `folder` ("" for the root) that a hub with listings has; of another one, none."""
        return ()

    def below(self, folder: str) -> Sequence[str]:  # noqa: ARG002 - as in `local`
        """The names of all models below `folder`, of a hub that lists them by one question; of another one, none."""
        return ()

    def search(self, words: Sequence[str], most: int) -> Sequence[str]:
        """The handles or names of at most so many models that the hub finds for these words, the best first.

        Of a hub that finds nothing itself, these are names that are written down and have all of the words in them.
        """
        found: dict[str, str] = {}
        for handle in self.names.written():
            if all(word.lower() in handle.lower() for word in words):
                model = self.names.parse(handle)
                newest = max(model.version, found.get(model.name, model.version), key=self.names.age)
                found[model.name] = newest
        return [str(ModelId(*one)) for one in sorted(found.items())][:most]

    def folder(self, model: ModelId) -> str:
        """The `gs://` folder that holds the model's files, for programs which no mount reaches.

        Raises `ModelNotFound` where there is none.
        """
        raise ModelNotFound(f"{self.url} keeps {model} in no bucket")

    def checks(self) -> Iterable[Check]:
        """What `hubfs doctor` asks."""
        return ()

    def ways(self) -> Sequence[WayTold]:
        """The ways by which models are asked for, in their order, of a hub that has several. Asks nobody."""
        return ()

    def budgets(self) -> Sequence[Budget]:
        """What is left of its budgets of requests, of a hub that tells. Asks nobody."""
        return ()


@dataclass(frozen=True)
class Means:
    """What a hub is made with: the clients that reach hosts for this hub alone, and what the user said of it.

    `catalog` is a file in which its models are written down. `endpoints`: the URLs of hosts that stand for the usual
    ones, by the scheme of the hub's URL. `environ` is where credentials are looked for that a hub's own client reads.
    `headers` are the credentials that the user named for this hub: `http` sends them where the hub's URL names a host.
    """

    http: HttpClient
    gcs: GcsClient
    form: Form | None = None
    extracted_dir: Path | None = None
    catalog: Path | None = None
    endpoints: Mapping[str, str] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    def hub(self, url: str) -> Hub:
        """Another hub, by the same means but what is said of this hub alone. Raises `InvalidConfig`."""
        return make_hub(url, replace(self, headers={}, catalog=None))


def make_hub(url: str, means: Means) -> Hub:
    """The hub at `url`. Asks nobody. Raises `InvalidConfig` for a URL of no kind of hub, and of no hub of its kind."""
    kind = kind_of(url)
    if kind is None:
        raise InvalidConfig(f"no kind of hub has such a URL; those of hubs begin with {', '.join(sorted(HUBS))}")
    return cast("Hub", resolve_name(kind.make)(url, means))


@contextmanager
def missing(what: str) -> Iterator[None]:
    """Raises `ModelNotFound`, which says `what`, for whatever is `NotFound`."""
    try:
        yield
    except NotFound as error:
        raise ModelNotFound(f"{what} ({error})") from error


def label_of(url: str) -> str:
    """The name in the cache of the hub at `url`: `example.com`, `example.com%2Fprefix`. One path segment, without '@'.

    The scheme is part of it, but for https: bytes that came unprotected (`http`), or from a host whose certificate
    nobody verified (`unverified+https`), are not taken for bytes that came protected.
    """
    if url.startswith("gs://"):  # '?' and '#' are characters of its prefix
        return quote(url.rstrip("/"), safe=":")
    parts = urlsplit(url)
    name = parts.netloc.rpartition("@")[2] + parts.path.rstrip("/")
    return quote(name if parts.scheme == "https" else f"{parts.scheme}://{name}", safe=":")
