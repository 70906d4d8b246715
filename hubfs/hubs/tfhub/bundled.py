"""The public catalogue of https://tfhub.dev, which comes with hubfs: a snapshot of 2024-03-18."""

from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from importlib import resources

from hubfs.blobs.http.url import origin_of
from hubfs.catalogue.catalogue import Catalog, CatalogEntry, CatalogKind, KaggleName

_HUB = ("https", "tfhub.dev", 443)


def is_public_hub(url: str) -> bool:
    """Whether `url` is https://tfhub.dev itself, of which the catalogue is: a mirror may have other models."""
    try:
        return origin_of(url) == _HUB and not url.partition("://")[2].partition("/")[2].strip("/")
    except ValueError:
        return False


@cache
def bundled_catalogue() -> Catalog:
    """The catalogue, read from the package's data when somebody first asks: in about 30 ms, without any network."""
    return Catalog([*_models(), *_collections()], snapshot=True)


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
