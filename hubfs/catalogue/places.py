"""What a path is, by its grammar and the catalogue: no I/O."""

from collections.abc import Sequence
from dataclasses import dataclass

from hubfs.catalogue.catalogue import Catalog
from hubfs.catalogue.handle import (
    COLLECTION,
    MAX_SEGMENTS,
    Kind,
    is_name,
    is_name_segment,
    kind_of,
    possible_models,
)
from hubfs.errors import EntryNotFound, InvalidHandle
from hubfs.model_id import ModelId

CONTROL = ".hubfs"
"""The directory of control files in the root; no publisher can have this name."""

LATEST = "latest"
"""The name, beside versions, of the symlink to the newest."""

README = "README.md"
"""The name, beside versions, of a model's documentation."""

_MODEL_FILES = {Kind.LITE: "model.tflite", Kind.CORAL: "model.tflite", Kind.TFJS: "model.json"}


@dataclass(frozen=True)
class Folder:
    """A directory above models: it could lead to one, whether or not anything is known below."""

    segments: tuple[str, ...]


@dataclass(frozen=True)
class InModel:
    """A model root (`inner` empty) or what is in it. The model may turn out not to exist."""

    handle: ModelId
    inner: str


@dataclass(frozen=True)
class Latest:
    """The symlink `latest` of the model `name`."""

    name: str


@dataclass(frozen=True)
class Readme:
    """The documentation of the model `name`."""

    name: str
    text: bytes


@dataclass(frozen=True)
class Collection:
    """A directory of a collection, or above some: symlinks by name, and the names of directories below."""

    links: dict[str, str]
    folders: tuple[str, ...]


@dataclass(frozen=True)
class CollectionLink:
    """A symlink to a model of a collection."""

    target: str


@dataclass(frozen=True)
class Control:
    """The directory of control files, or something below it."""

    segments: tuple[str, ...]


Settled = Folder | InModel | Latest | Readme | Collection | CollectionLink | Control


@dataclass(frozen=True)
class Ambiguous:
    """A typed path with numbers in it, of which the catalogue does not know: at most one candidate is a model.

    `otherwise`: what the path is if none is; None if it does not exist then.
    """

    segments: tuple[str, ...]
    candidates: tuple[InModel, ...]
    otherwise: Settled | None


Place = Settled | Ambiguous


class NotInCatalogue(EntryNotFound):
    """The catalogue, which alone could know of such a path, does not have it."""


def place_of(path: str, catalog: Catalog) -> Place:
    """What `path` (absolute, as FUSE gives it) is. Raises `EntryNotFound` for what cannot exist, `NotInCatalogue`."""
    segments = tuple(segment for segment in path.split("/") if segment)
    if segments[:1] == (CONTROL,):
        return Control(segments[1:])
    if segments[1:2] == (COLLECTION,):
        return _in_collections(segments, catalog)
    try:
        candidates = [InModel(handle, "/".join(rest)) for handle, rest in possible_models(segments)]
    except InvalidHandle as error:
        raise EntryNotFound(str(error)) from None
    return _with_versions(segments, candidates, catalog) if candidates else _above_models(segments, catalog)


def _with_versions(segments: tuple[str, ...], candidates: Sequence[InModel], catalog: Catalog) -> Place:
    """What a path is that has numbers in it where versions may be."""
    known = [candidate for candidate in candidates if catalog.is_model(str(candidate.handle))]
    if known:
        return known[-1]
    beside_versions = segments[-1] in (LATEST, README) and bool(catalog.versions("/".join(segments[:-1])))
    if beside_versions or catalog.children(segments):
        return _above_models(segments, catalog)
    possible = [candidate for candidate in candidates if catalog.is_model(str(candidate.handle)) is None]
    if not possible:
        raise EntryNotFound(f"the catalogue says that {candidates[0].handle} is no model")
    if kind_of(candidates[0].handle.name) is Kind.MODEL:
        return possible[0]
    # Any directory of numbers could lead to a model, unless a catalogue lists all that do.
    could_lead_on = not catalog.lists_all and len(segments) <= MAX_SEGMENTS and all(map(is_name_segment, segments))
    if segments[-1] in (_MODEL_FILES[kind_of(candidates[0].handle.name)], README) or not could_lead_on:
        return Ambiguous(segments, tuple(possible), None)
    return Ambiguous(segments, tuple(possible), _above_models(segments, catalog))


def _above_models(segments: tuple[str, ...], catalog: Catalog) -> Settled:
    """What a path is that no model is at or above."""
    if not is_name(segments[:-1]):
        return Folder(segments)
    name = "/".join(segments[:-1])
    if segments[-1] == LATEST:
        return Latest(name)
    if segments[-1] == README:
        text = catalog.documentation(name)
        if text is None:
            raise NotInCatalogue(f"the catalogue has no documentation of {name}")
        return Readme(name, text)
    return Folder(segments)


def _in_collections(segments: tuple[str, ...], catalog: Catalog) -> Settled:
    path = "/".join(segments)
    if not is_name(segments):
        raise EntryNotFound(f"{path!r} cannot be a collection, nor be in one")
    members = catalog.collection(path)
    folders = tuple(catalog.children(segments))
    if members is not None or folders:
        return Collection(_links(segments, members or ()), folders)
    members = catalog.collection("/".join(segments[:-1]))
    target = _links(segments[:-1], members or ()).get(segments[-1])
    if target is None:
        raise NotInCatalogue(f"the catalogue has no {path}")
    return CollectionLink(target)


def _links(collection: tuple[str, ...], members: Sequence[str]) -> dict[str, str]:
    """The symlinks of a collection: `google_spice_2` → the model, relative."""
    up = "../" * len(collection)
    links: dict[str, str] = {}
    for member in sorted(members):
        name = member.replace("/", "_")
        while name in links:  # google/a_b/1 and google/a/b/1
            name += "_"
        links[name] = up + member
    return links
