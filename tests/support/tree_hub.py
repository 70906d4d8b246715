"""A hub of archives in memory, and the tree of what it has."""

import contextlib
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hubfs.blobs.blob import Blob
from hubfs.cache.block_cache import CacheKey, Release
from hubfs.cache.disk.indexes import Index
from hubfs.cache.memory import MemoryTier
from hubfs.errors import HubfsError, ModelNotFound, NoSuchAttribute
from hubfs.hubs.hub import Hub
from hubfs.hubs.tfhub.names.catalogue import Catalog, CatalogEntry
from hubfs.hubs.tfhub.names.file import to_json_lines
from hubfs.hubs.tfhub.names.handles import Handles
from hubfs.hubs.tfhub.names.provider import CatalogDocument, CatalogProvider
from hubfs.model_id import ModelId
from hubfs.models.answers import ModelsSettings
from hubfs.models.models import Models
from hubfs.models.troubles import Troubles
from hubfs.sources.archive.source import ArchiveSource
from hubfs.sources.kit import Kit
from hubfs.sources.prefetch.completer import Completer
from hubfs.tree.control_files import ControlFiles
from hubfs.tree.hub_tree import HubTree
from hubfs.tree.virtual_tree import VirtualTree
from tests.support.streams import HUB, MIB, Desk, archive_source

NO_KIT: Any = None


class Holds(MemoryTier):
    """Knows who holds what."""

    def __init__(self) -> None:
        super().__init__(64 * MIB)
        self.held: list[str] = []

    def hold(self, model: str) -> Release:
        self.held.append(model)
        return lambda: self.held.remove(model)


class TreeHub(Hub):
    """A hub of `archives` (handle → bytes), which counts what it is asked, and `tree`, the tree of what it has.

    `listing`: whether it lists; `trouble`: what it answers instead, by handle or name, or for everything as "".
    `document`: the catalogue that the hub itself has; `bundled`: the one that comes with hubfs.
    """

    def __init__(
        self,
        desk: Desk,
        archives: Mapping[str, bytes],
        *,
        catalog: Path | None = None,
        document: Sequence[CatalogEntry] = (),
        bundled: Callable[[], Catalog] | None = None,
        listing: bool = False,
    ) -> None:
        self.url, self.host, self.label = HUB, HUB, "hub.example"
        self.desk = desk
        self.archives = dict(archives)
        self.listing = listing
        self.asked: list[str] = []
        self.documents = 0
        self.trouble: dict[str, HubfsError] = {}
        self.on_disk: list[str] = []
        self.indexes: dict[str, Index] = {}
        self.cache = Holds()
        self.read_ahead: list[Blob] = []
        self.status = b"{}"
        self.now_s = 0.0
        self._document = document
        self._lock = threading.Lock()
        self.troubles = Troubles()
        catalogue = CatalogProvider(
            desk.cancellation,
            file=catalog,
            fetch=self.fetch if document else None,
            bundled=bundled,
            hub=HUB,
            timer=lambda: self.now_s,
        )
        self.names = Handles(HUB, catalogue)
        self.models = Models(
            self,
            NO_KIT,
            troubles=self.troubles,
            load_index=lambda text: self.indexes.get(text.partition("/")[2]),
            known_on_disk=lambda _: iter([*self.on_disk, *self.indexes]),
            cancellation=desk.cancellation,
            settings=ModelsSettings(),
            timer=lambda: self.now_s,
        )
        self.whole: list[tuple[CacheKey, int, float]] = []
        self.completer = Completer(desk.cancellation)
        hub = HubTree(
            self.models,
            self.cache,
            read_ahead=self.view,
            whole=lambda *asked: self.whole.append(asked),
            completer=self.completer,
            troubles=self.troubles,
        )
        controls = ControlFiles(
            {"status.json": lambda: self.status, "version": lambda: b"0.1.0\n"},
            {name: [view] for name, view in self.names.views(hub.known, "../..").items()},
        )
        self.tree = VirtualTree({"": hub}, controls, self.cache)

    def fetch(self, etag: str | None) -> CatalogDocument:
        self.documents += 1
        self._trouble("")
        return CatalogDocument(to_json_lines(self._document))

    def local(self, model: ModelId) -> None:
        """Nothing is on this machine."""

    def open(self, model: ModelId, kit: Kit) -> ArchiveSource:
        self._ask(str(model))
        if str(model) not in self.archives:
            raise ModelNotFound(f"{HUB}/{model}: no such model")
        return self._source(model, f"{HUB}/{model}")

    def load(self, model: ModelId, kept: Index, kit: Kit) -> ArchiveSource:
        return self._source(model, "cached")

    def alias(self, name: str) -> str:
        self._ask(f"latest {name}", name)
        versions = self._versions(name)
        if not versions:
            raise ModelNotFound(f"{HUB}/{name}: no version")
        return versions[-1]

    def versions(self, name: str) -> Sequence[str]:
        self._ask(f"versions {name}", name)
        return self._versions(name)

    @property
    def lists(self) -> bool:  # type: ignore[override]
        return self.listing

    def children(self, folder: str) -> Sequence[str]:
        self._ask(f"children {folder}", folder)
        prefix = f"{folder}/" if folder else ""
        return sorted({one.removeprefix(prefix).partition("/")[0] for one in self.archives if one.startswith(prefix)})

    def _source(self, handle: ModelId, url: str) -> ArchiveSource:
        stream = self.desk.stream(self.archives[str(handle)])
        collaborators = self.desk.collaborators(stream, self.cache)
        return archive_source(handle, url, f"{handle}@v1", "v1", **collaborators)

    def view(self, blob: Blob) -> Blob:
        self.read_ahead.append(blob)
        return blob

    def _versions(self, name: str) -> list[str]:
        found = [one.removeprefix(f"{name}/") for one in self.archives if one.startswith(f"{name}/")]
        return sorted((version for version in found if version.isdigit()), key=int)

    def _ask(self, question: str, about: str | None = None) -> None:
        with self._lock:
            self.asked.append(question)
        self._trouble(about or question)

    def _trouble(self, about: str) -> None:
        for key in ("", about):
            if key in self.trouble:
                raise self.trouble[key]


NAMES = tuple(f"user.hubfs.{name}" for name in ("handle", "url", "form", "cached_bytes", "error", "stale"))


def attributes_of(tree: VirtualTree, path: str) -> dict[str, str]:
    """Those of NAMES that the path has: nothing lists them."""
    found = {}
    for name in NAMES:
        with contextlib.suppress(NoSuchAttribute):
            found[name] = tree.attribute(path, name)
    return found
