"""Where models are mirrored to: the words that every kind of place has in common."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from hubfs.commands.mirror.provenance import Provenance
from hubfs.hubs.hosted import Hosted
from hubfs.model_id import ModelId


@dataclass(frozen=True)
class Product:
    """A model as it will lie in a place: a file or a directory of this machine, and the index of an archive."""

    path: Path
    size_bytes: int
    index: Path | None = None


@dataclass(frozen=True)
class Found:
    """What a place has of a version: the names of its files, `size_bytes` of them together, and the provenance.

    The provenance comes first, and the model, which is one file or directory, last: without `names` it is not there.
    """

    names: tuple[str, ...]
    size_bytes: int
    provenance: Provenance | None


class Place(Protocol):
    """Where models are mirrored to. For one thread. Every method raises what kept the place from being used."""

    takes_archives_alone: bool

    def shown(self, handle: ModelId) -> str:
        """Where a version is, for people."""
        ...

    def held(self) -> AbstractContextManager[Path]:
        """Has the place for this process alone; the folder in which models are made ready. Raises `InvalidConfig`."""
        ...

    def versions(self, name: str) -> Mapping[str, Provenance | None]:
        """The versions of a name that are there, or were begun."""
        ...

    def find(self, handle: ModelId) -> Found:
        """What is there of a version."""
        ...

    def is_same(self, handle: ModelId, found: Found, product: Product) -> bool:
        """Whether what was found has the bytes of a product."""
        ...

    def tell(self, handle: ModelId, provenance: Provenance) -> None:
        """Writes down where a version came from."""
        ...

    def put(self, hosted: Hosted, product: Product, sent: Callable[[int], None]) -> None:
        """Puts a version in its place, as a whole; `sent` is told how many bytes of it went so far."""
        ...
