"""Handles and paths: the grammar, and what a path is with and without a catalogue."""

from functools import lru_cache

from hubfs.errors import EntryNotFound, InvalidHandle
from hubfs.hubs.place import Alias, Ambiguous, InModel, Link, Links
from hubfs.hubs.tfhub.names.catalogue import Catalog, CatalogEntry, CatalogKind
from hubfs.hubs.tfhub.names.handle import parse_handle
from hubfs.hubs.tfhub.names.places import place_of

MAX_BYTES = 5000
WORDS = (
    *(b"google/", b"/lite-model/", b"/tfjs-model/", b"/coral-model/", b"/collection/"),
    *(b"latest", b"README.md", b"/1"),
)

_MOST_CANDIDATES = 32
"""Each may cost a question to the hub."""


@lru_cache(1)
def _catalogues() -> tuple[Catalog, Catalog]:
    entries = [
        CatalogEntry(CatalogKind.MODULE, "google/spice/2", "# Spice"),
        CatalogEntry(CatalogKind.TFJS, "google/tfjs-model/spice/2/default/1"),
        CatalogEntry(CatalogKind.LITE, "google/lite-model/a/1"),
        CatalogEntry(CatalogKind.COLLECTION, "google/collection/sounds", None, ("google/spice", "google/a/1/b")),
        CatalogEntry(CatalogKind.PLACEHOLDER, "google/page/1"),
    ]
    return Catalog(), Catalog(entries)


def fuzz(data: bytes) -> None:
    text = data.decode(errors="surrogateescape")
    try:
        handle = parse_handle(text)
    except InvalidHandle as error:
        str(error).encode()
    else:
        assert str(handle) == text
        assert parse_handle(str(handle)) == handle
        assert all(0 < len(part) <= 255 for part in text.split("/"))
    for catalog in _catalogues():
        try:
            place = place_of(f"/{text}", catalog)
        except EntryNotFound as error:
            str(error).encode()
            continue
        candidates = place.candidates if isinstance(place, Ambiguous) else ()
        assert len(candidates) <= _MOST_CANDIDATES
        for candidate in [*candidates, place]:
            if isinstance(candidate, InModel):
                path = f"{candidate.handle}/{candidate.inner}".rstrip("/")
                assert path == "/".join(part for part in text.split("/") if part)
                assert parse_handle(str(candidate.handle)) == candidate.handle
        if isinstance(place, Alias):
            parse_handle(f"{place.name}/1")
        if isinstance(place, Links | Link):
            assert "google" in text
