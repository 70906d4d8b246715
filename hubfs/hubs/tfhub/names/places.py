"""What a path is, by its grammar and the catalogue: no I/O."""

from collections.abc import Sequence

from hubfs.errors import EntryNotFound, InvalidHandle
from hubfs.hubs.names import Known
from hubfs.hubs.place import (
    Alias,
    Ambiguous,
    Folder,
    InModel,
    Link,
    Links,
    NotInCatalogue,
    Place,
    Settled,
    Shown,
    Text,
)
from hubfs.hubs.tfhub.names.catalogue import Catalog
from hubfs.hubs.tfhub.names.handle import (
    COLLECTION,
    MAX_SEGMENTS,
    Kind,
    is_name,
    is_name_segment,
    is_typed,
    is_version,
    kind_of,
    possible_models,
)

LATEST = "latest"
"""The name, beside versions, of the symlink to the newest."""

README = "README.md"
"""The name, beside versions, of a model's documentation."""

_MODEL_FILES = {Kind.LITE: "model.tflite", Kind.CORAL: "model.tflite", Kind.TFJS: "model.json"}


def place_of(path: str, catalog: Catalog) -> Place:
    """What `path` (absolute, as FUSE gives it) is. Raises `EntryNotFound` for what cannot exist, `NotInCatalogue`."""
    segments = tuple(filter(None, path.split("/")))
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
        return Alias(name)
    if segments[-1] == README:
        text = catalog.documentation(name)
        if text is None:
            raise NotInCatalogue(f"the catalogue has no documentation of {name}")
        return Text(text)
    return Folder(segments)


def names_in(segments: tuple[str, ...], catalog: Catalog, known: Known) -> Shown:
    """The names in the directory `segments` above models."""
    folder = "/".join(segments)
    listed = known.children(folder)
    names = {*known.known_children(folder), *catalog.children(segments), *(listed or ())}
    cached = known.known_versions(folder)
    versions = {*catalog.versions(folder), *cached}
    if is_name(segments):
        if listed is not None and not is_typed(segments):
            versions.update(filter(is_version, listed))
        elif listed is not None or not catalog.children(segments) or (cached and not catalog.lists_all):
            # The catalogue does not know; or it is a snapshot of a model in use, of which a server may wait for the
            # next version; and of numbers below a typed name, a listing does not tell versions.
            versions.update(known.versions(folder))
    documented = catalog.documentation(folder) is not None
    return Shown(names | versions, [LATEST] if versions else [], [README] if documented else [])


def _in_collections(segments: tuple[str, ...], catalog: Catalog) -> Settled:
    path = "/".join(segments)
    if not is_name(segments):
        raise EntryNotFound(f"{path!r} cannot be a collection, nor be in one")
    members = catalog.collection(path)
    folders = tuple(catalog.children(segments))
    if members is not None or folders:
        return Links(_links(segments, members or ()), folders)
    members = catalog.collection("/".join(segments[:-1]))
    target = _links(segments[:-1], members or ()).get(segments[-1])
    if target is None:
        raise NotInCatalogue(f"the catalogue has no {path}")
    return Link(target)


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
