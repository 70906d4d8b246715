"""What a path of a mount can be: the words in which every hub answers, without I/O."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from hubfs.errors import EntryNotFound
from hubfs.model_id import ModelId


@dataclass(frozen=True)
class Folder:
    """A directory above models: it could lead to one, whether or not anything is known below."""

    segments: tuple[str, ...]


@dataclass(frozen=True)
class InModel:
    """A model root (`inner` empty) or a path in a model. The model may turn out not to exist."""

    handle: ModelId
    inner: str


@dataclass(frozen=True)
class Alias:
    """A symlink that moves between versions of `name`: it leads to `prefix` and the version of the moment."""

    name: str
    prefix: str = ""


@dataclass(frozen=True)
class Text:
    """A file that the hub's names bring along: a model's documentation."""

    text: bytes


@dataclass(frozen=True)
class Links:
    """A directory of symlinks, by name and target, and of `folders`."""

    links: Mapping[str, str]
    folders: tuple[str, ...] = ()


@dataclass(frozen=True)
class Link:
    """A symlink that stays."""

    target: str


Settled = Folder | InModel | Alias | Text | Links | Link


@dataclass(frozen=True)
class Ambiguous:
    """A path of which the names alone do not tell which candidate is a model: at most one is.

    `otherwise`: the place that the path is if none is; None if it does not exist then.
    """

    segments: tuple[str, ...]
    candidates: tuple[InModel, ...]
    otherwise: Settled | None


@dataclass(frozen=True)
class FolderOrAlias:
    """A path of which the names alone do not tell whether it is an alias: else it is a directory above models."""

    folder: Folder
    alias: Alias


Place = Settled | Ambiguous | FolderOrAlias


@dataclass(frozen=True)
class Shown:
    """The names in a directory above models."""

    folders: Collection[str]
    links: Collection[str] = ()
    texts: Collection[str] = ()


class NotInCatalogue(EntryNotFound):
    """The catalogue, which alone could know of such a path, does not have it."""
