"""The public catalogue of https://tfhub.dev, which comes with hubfs: a snapshot of 2024-03-18."""

from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from importlib import resources

from hubfs.errors import InvalidHandle, ModelNotFound, quoted
from hubfs.hubs.names import names_at
from hubfs.hubs.registry import DEFAULT_HUB, spelled_out
from hubfs.hubs.tfhub.names.catalogue import Catalog, CatalogEntry, CatalogKind, KaggleName
from hubfs.hubs.tfhub.names.handle import version_age


@cache
def bundled_catalogue() -> Catalog:
    """The catalogue, read from the package's data when somebody first asks: in about 30 ms, without any network."""
    return Catalog([*_models(), *_collections()], snapshot=True)


def kaggle_handle(text: str) -> str:
    """What Kaggle calls the model `text`: a handle of https://tfhub.dev, a name (its newest version), or a URL of it.

    The answer reads `OWNER/MODEL/FRAMEWORK/VARIATION/VERSION`. Asks nobody. Raises `InvalidHandle`, and `ModelNotFound`
    where the catalogue does not know.
    """
    found = names_at(DEFAULT_HUB).find(spelled_out(text))
    if found is None:
        raise InvalidHandle(f"'{quoted(text)}' is no handle of {DEFAULT_HUB}: it must read as google/spice/2 does")
    catalogue = bundled_catalogue()
    name, version = found
    handle = "/".join((name, *([version] if version else catalogue.versions(name)[-1:])))
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
    found = names_at("kaggle:").find(text)
    if found is None:
        raise InvalidHandle(f"'{quoted(text)}' is no handle of Kaggle Models")
    name, version = found
    names = ((entry.kaggle.name, entry.handle) for entry in bundled_catalogue().entries if entry.kaggle is not None)
    models = ((*there.rpartition("/")[::2], handle) for there, handle in names)
    versions = {number: handle for other, number, handle in models if other.casefold() == name.casefold()}
    asked = version or max(versions, key=version_age, default="")
    if asked not in versions:
        there = "/".join(filter(None, found))
        raise ModelNotFound(
            f"The catalogue that comes with hubfs does not know which model of {DEFAULT_HUB} is {there} at Kaggle"
        )
    return versions[asked]


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
