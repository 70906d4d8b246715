"""`hubfs catalog`: makes catalogues and shows them."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from hubfs.catalogue.catalogue import Catalog
from hubfs.catalogue.documentation import read_documentation
from hubfs.catalogue.file import read_catalog, to_json_lines, to_tsv, write_catalog
from hubfs.errors import InvalidConfig

_STDOUT = Path("-")


def import_documentation(directory: Path, output: Path) -> str:
    """Makes the catalogue file `output` of a checkout of a hub's documentation repository.

    Returns what to say of it; for the output `-`, the catalogue itself. Raises `InvalidConfig` when there is no
    documentation in `directory`, or `output` cannot be written.
    """
    entries = Catalog(read_documentation(directory)).entries
    if output == _STDOUT:
        return to_json_lines(entries).removesuffix("\n")
    write_catalog(output, entries)
    kinds = Counter(entry.kind.value for entry in entries)
    counts = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    return f"{output} has {len(entries)} entries: {counts}"


def lines(file: Path | None) -> Iterator[str]:
    """Kind, tab and handle of each entry of the catalogue `file`: a catalogue itself. Raises `InvalidConfig`."""
    if file is None:
        raise InvalidConfig("No catalogue is configured: name a FILE, which `hubfs catalog import` makes")
    yield from to_tsv(read_catalog(file)).splitlines()
