"""Catalogues and documentation, as a hub or a file has them: what is read is written and read again."""

from hubfs.errors import InvalidConfig, InvalidHandle
from hubfs.hubs.tfhub.names import documentation
from hubfs.hubs.tfhub.names.catalogue import Catalog, CatalogEntry, CatalogKind
from hubfs.hubs.tfhub.names.file import parse_catalog, to_json_lines, to_tsv

MAX_BYTES = 6000
WORDS = (
    *(kind.value.encode() for kind in CatalogKind),
    *(b'"kind":', b'"handle":', b'"documentation":', b'"members":', b"google/spice/2", b"google/collection/a", b"\t"),
    *(b"/collection/", b"/lite-model/", b"/tfjs-model/", b"[" * 60, b"1e999", b"\\ud800", b"](", b"https://tfhub.dev/"),
    *(b'"format":', b'"task":', b'"kaggle":', b'"kaggle_by":', b"google/spice/tensorFlow1/spice/2", b"seen", b"rank"),
)

_MOST_NAMES_PER_BYTE = 64
"""What is kept of a catalogue is a bounded multiple of its size."""


def fuzz(data: bytes) -> None:
    text = data.decode(errors="replace")
    _document(text)
    try:
        entries = parse_catalog(text, "a catalogue")
    except InvalidConfig as error:
        str(error).encode(errors="strict")
        return
    assert parse_catalog(to_json_lines(entries), "itself") == entries
    plain = [CatalogEntry(entry.kind, entry.handle) for entry in entries]
    assert parse_catalog(to_tsv(entries), "itself") == plain
    catalog = Catalog(entries)
    kept_bytes = sum(len(folder) + sum(map(len, names)) for folder, names in catalog._names._children.items())
    assert kept_bytes <= _MOST_NAMES_PER_BYTE * (len(data) + 64), f"{kept_bytes} bytes of names from {len(data)}"
    for handle in catalog.handles():
        assert catalog.is_model(handle)
        name, _, version = handle.rpartition("/")
        assert version in catalog.versions(name)
        assert version in catalog.children(tuple(name.split("/")))
        catalog.documentation(name)
    for entry in entries:
        if entry.kind is CatalogKind.COLLECTION:
            assert catalog.collection(entry.handle) is not None
    assert catalog.merged(catalog).handles() == catalog.handles()


def _document(text: str) -> None:
    try:
        kind, handle = documentation._title(text)
    except InvalidHandle as error:
        str(error).encode()
        return
    members = tuple(documentation._members(text, "google/a.md", {"google/spice.md": "google/spice/2"}))
    CatalogEntry(kind, handle, text, members if kind is CatalogKind.COLLECTION else ())
