"""The public catalogue of https://tfhub.dev, which comes with hubfs: a snapshot of 2024-03-18."""

from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from importlib import resources

from hubfs.errors import InvalidHandle, ModelNotFound, quoted
from hubfs.hubs.registry import DEFAULT_HUB, spelled_out
from hubfs.hubs.tfhub.names.catalogue import Catalog, CatalogEntry, CatalogKind, KaggleName
from hubfs.hubs.tfhub.names.handle import handle_on, is_version, is_versioned, version_age

_AT_KAGGLE = ("https://www.kaggle.com/models/", "https://kaggle.com/models/", "kaggle://", "kaggle:")
"""What names at Kaggle begin with, in programs and on its site."""
_KAGGLE_LABELS = {2: "frameworks", 4: "variations", 6: "versions"}
"""Segments of the longer URLs that Kaggle's site shows: OWNER/MODEL/frameworks/F/variations/V/versions/N."""
_UNVERSIONED_SEGMENTS = 4


@cache
def bundled_catalogue() -> Catalog:
    """The catalogue, read from the package's data when somebody first asks: in about 30 ms, without any network."""
    return Catalog([*_models(), *_collections()], snapshot=True)


def kaggle_handle(text: str) -> str:
    """What Kaggle calls the model `text`: a handle of https://tfhub.dev, a name (its newest version), or a URL of it.

    The answer reads `OWNER/MODEL/FRAMEWORK/VARIATION/VERSION`. Asks nobody. Raises `InvalidHandle`, and `ModelNotFound`
    where the catalogue does not know.
    """
    handle = handle_on(DEFAULT_HUB, spelled_out(text))
    if handle is None:
        raise InvalidHandle(f"'{quoted(text)}' is no handle of {DEFAULT_HUB}: it must read as google/spice/2 does")
    catalogue = bundled_catalogue()
    if not is_versioned(handle):
        handle = "/".join((handle, *catalogue.versions(handle)[-1:]))
    known = catalogue.entry(handle)
    if known is None or known.kaggle is None:
        raise ModelNotFound(f"The catalogue that comes with hubfs does not know what Kaggle calls {handle}")
    return known.kaggle.name


def tfhub_handle(text: str) -> str:
    """The handle at https://tfhub.dev of the model that Kaggle calls `text`; without a version, of its newest.

    `text` is `OWNER/MODEL/FRAMEWORK/VARIATION/VERSION`, in any case of letters, perhaps behind `kaggle:`, or the URL of
    either form that Kaggle's site shows. Asks nobody. Raises `InvalidHandle`, and `ModelNotFound` where the catalogue
    does not know.
    """
    segments = _kaggle_segments(text)
    name = "/".join(segments).casefold()
    by_name = _handles_at_kaggle()
    if len(segments) == _UNVERSIONED_SEGMENTS:
        versions = [known for known in by_name if known.rpartition("/")[0] == name]
        name = max(versions, key=lambda known: version_age(known.rpartition("/")[2]), default=name)
    if name not in by_name:
        raise ModelNotFound(
            f"The catalogue that comes with hubfs does not know which model of {DEFAULT_HUB} is {'/'.join(segments)} "
            "at Kaggle"
        )
    return by_name[name]


def _kaggle_segments(text: str) -> list[str]:
    """Owner, model, framework and variation, and the version if there is one. Raises `InvalidHandle`."""
    start = next(filter(text.startswith, _AT_KAGGLE), "")
    segments = text.removeprefix(start).partition("?")[0].strip("/").split("/")
    labels = {position: label for position, label in _KAGGLE_LABELS.items() if segments[position : position + 1]}
    if labels and all(segments[position] == label for position, label in labels.items()):
        segments = [segment for position, segment in enumerate(segments) if position not in labels]
    version = segments[_UNVERSIONED_SEGMENTS:]
    try:
        if not version or is_version(version[0]):
            KaggleName("/".join(segments if version else [*segments, "1"]))
            return segments
    except InvalidHandle:
        pass
    raise InvalidHandle(
        f"'{quoted(text)}' is no name at Kaggle: it must read OWNER/MODEL/FRAMEWORK/VARIATION/VERSION, such as "
        "google/spice/tensorFlow1/spice/2"
    )


@cache
def _handles_at_kaggle() -> dict[str, str]:
    """The handles by their names at Kaggle, in lower case: no two differ by case alone."""
    models = bundled_catalogue().entries
    return {entry.kaggle.name.casefold(): entry.handle for entry in models if entry.kaggle is not None}


def _models() -> Iterator[CatalogEntry]:
    """A line each: kind, handle, format, task, name at Kaggle, and `seen` or `rank`: how that name is known."""
    for kind, handle, format_, task, kaggle, known_by in _rows("tfhub.tsv"):
        name = KaggleName(kaggle, seen=known_by == "seen") if kaggle else None
        yield CatalogEntry(CatalogKind(kind), handle, format=format_ or None, task=task or None, kaggle=name)


def _collections() -> Iterator[CatalogEntry]:
    """A line each: collection, member."""
    members = defaultdict(list)
    for collection, member in _rows("collections.tsv"):
        members[collection].append(member)
    for collection, models in members.items():
        yield CatalogEntry(CatalogKind.COLLECTION, collection, members=tuple(models))


def _rows(name: str) -> Iterator[list[str]]:
    data = resources.files("hubfs.hubs.tfhub").joinpath("data", name).read_text(encoding="utf-8")
    return (line.split("\t") for line in data.splitlines())
