"""A tree of one model that is in memory, and what is answered of it, without mounting."""

import hashlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import cast

from hubfs.blobs.stamp import Stamp
from hubfs.cache.memory import MemoryTier
from hubfs.errors import ModelNotFound, Unavailable
from hubfs.fuse.answers import Answers
from hubfs.fuse.attributes import Owner
from hubfs.hubs.tfhub.names.catalogue import CatalogEntry, CatalogKind
from hubfs.hubs.tfhub.names.file import to_json_lines
from hubfs.hubs.tfhub.names.handle import parse_handle
from hubfs.hubs.tfhub.names.handles import Handles
from hubfs.hubs.tfhub.names.provider import CatalogProvider
from hubfs.hubs.tfhub.names.tfhub_modules import TfhubModules
from hubfs.model_id import ModelId
from hubfs.models.known_handles import KnownHandles
from hubfs.models.models import Models
from hubfs.models.uses import Uses
from hubfs.sources.source import Form
from hubfs.testing import MemorySource
from hubfs.tree.control_files import ControlFiles
from hubfs.tree.hub_tree import HubTree
from hubfs.tree.virtual_tree import VirtualTree
from hubfs.waiting import Cancellation

ROOT = "/google/spice/2"
FILES = {"saved_model.pb": b"graph" * 100, "variables/variables.index": b"index"}
CATALOG = (
    CatalogEntry(CatalogKind.MODULE, "google/spice/2", documentation="# Spice\n"),
    CatalogEntry(CatalogKind.COLLECTION, "google/collection/pitch", members=("google/spice",)),
)
LINK = "/google/collection/pitch/google_spice_2"
MODULE = f"/.hubfs/tfhub_modules/{hashlib.sha1(b'https://tfhub.dev/google/spice/2').hexdigest()}"
UNKNOWN_MODULE = f"/.hubfs/tfhub_modules/{hashlib.sha1(b'https://tfhub.dev/google/nothing/1').hexdigest()}"


def fresh_source() -> MemorySource:
    return MemorySource(
        FILES,
        handle=parse_handle(ROOT[1:]),
        form=Form.COMPRESSED,
        stamp_of=lambda path: Stamp(1_600_000_000 + len(path)),
    )


class OneModel:
    """What the tree needs of Models, for one source; other models are missing, `down` ones unreachable."""

    hub: SimpleNamespace
    """`answers_of` gives it names."""
    on_dropped: Callable[[ModelId], None]

    def __init__(self) -> None:
        self.source = fresh_source()
        self.newest = "2"
        self.more_versions: list[str] = []
        self.answers, self.uses = self, Uses()
        self.known = KnownHandles(
            lambda: [f"google/spice/{version}" for version in ("2", *self.more_versions)],
            parse_handle,
            Cancellation(),
            ttl_s=0,
            timeout_s=9,
            timer=time.monotonic,
        )

    def get(self, handle: ModelId) -> MemorySource:
        if handle.name.startswith("down/"):
            raise Unavailable("no route to the hub")
        if handle != self.source.handle:
            raise ModelNotFound(f"no {handle}")
        return self.source

    def has(self, handle: ModelId) -> bool:
        return handle == self.source.handle

    def found(self, handle: ModelId) -> MemorySource | None:
        return self.source if self.has(handle) else None

    def is_written_down(self, _handle: ModelId) -> bool:
        return False

    def latest(self, name: str) -> str:
        if name.startswith("down/"):
            raise Unavailable("no route to the hub")
        if name != "google/spice":
            raise ModelNotFound(f"no {name}")
        return self.newest

    def expected(self, name: str) -> str:
        return self.latest(name)

    def versions(self, name: str) -> Sequence[str]:
        return ("2",) if name == "google/spice" else ()

    def children(self, _folder: str) -> None:
        return None

    def renew_names(self) -> None:
        """They stay."""

    def stale(self, _name: str) -> None:
        return None


class Cache(MemoryTier):
    """Counts holds and releases."""

    def __init__(self) -> None:
        super().__init__(1 << 20)
        self.held: list[str] = []
        self.released: list[str] = []

    def hold(self, model: str) -> Callable[[], None]:
        self.held.append(model)
        return lambda: self.released.append(model)


def answers_of(models: OneModel, cache: Cache, directory: Path, version: bytes = b"1.2.3\n") -> Answers:
    """What is answered of `models`; `directory` takes a file of the catalogue; `version` is a control file."""
    file = directory / "catalog.jsonl"
    file.write_text(to_json_lines(CATALOG), encoding="ascii")
    names = Handles("https://hub", CatalogProvider(Cancellation(), file=file))
    models.hub = SimpleNamespace(names=names)
    hub = HubTree(cast("Models", models), cache, read_ahead=lambda blob: blob)
    modules = TfhubModules(["https://tfhub.dev"], names.written)
    controls = ControlFiles({"version": lambda: version}, {"tfhub_modules": [modules]})
    return Answers(VirtualTree({"": hub}, controls, cache), Owner(1, 2))
