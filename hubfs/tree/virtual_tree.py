"""Paths below the mount point → the control files, and the hub that a path belongs to. Knows neither FUSE nor errno."""

from collections.abc import Callable, Mapping
from functools import partial

from hubfs.cache.block_cache import BlockCache, Release, TierStats
from hubfs.errors import EntryNotFound, IsADirectory, NoSuchAttribute, NotASymlink
from hubfs.tree.control_files import CONTROL, ControlFiles
from hubfs.tree.hub_tree import HubTree
from hubfs.tree.node import DIRECTORY, Names, Node, NodeKind, names_of
from hubfs.tree.open_file import OpenFile, text_file


class VirtualTree:
    """The name space of a mount. Stateless but for its collaborators; every method may wait for a hub, with a bound.

    `hubs` by the name of the directory that each is in. A hub whose name is empty is the root itself, and the only one.
    Paths are absolute, as FUSE gives them.
    """

    def __init__(self, hubs: Mapping[str, HubTree], controls: ControlFiles, cache: BlockCache) -> None:
        self._hubs = hubs
        self._alone = hubs.get("")
        self._controls = controls
        self._cache = cache

    def watch(self, dropped: Callable[[str], None]) -> None:
        """Has `dropped` told the path of each model that failed, and is found anew: nothing that was said of it holds.

        By the thread that asks for the model, which holds no lock.
        """
        for name, hub in self._hubs.items():
            hub.watch(partial(_told_below, dropped, name))

    def stat(self, path: str, *, opens: bool = False) -> Node:
        """The kind, size and time of `path`. `opens`: a directory there is opened, to look inside.

        Raises `NotFound`, `NotADirectory` for a path below a file, and what kept the hub from answering.
        """
        if (control := _control(path)) is not None:
            return self._controls.stat(control)
        hub, inner = self._hub_of(path)
        return DIRECTORY if hub is None else hub.stat(inner, opens=opens)

    def list(self, path: str) -> Names:
        """The names in a directory, sorted, and what they are. In a model, waits until all entries are known."""
        if (control := _control(path)) is not None:
            return self._controls.list(control)
        hub, inner = self._hub_of(path)
        names = names_of(folders=self._hubs) if hub is None else hub.list(inner)
        return sorted([*names, (CONTROL, NodeKind.DIRECTORY)]) if not path.strip("/") else names

    def nodes(self, path: str, names: Names) -> Mapping[str, Node]:
        """What `stat` would say of the `names` of a directory that was listed, as far as nobody has to be asked."""
        if _control(path) is not None:
            return {}
        hub, inner = self._hub_of(path)
        if hub is None:
            return {name: DIRECTORY for name, _ in names}
        known = hub.nodes(inner, names)
        return {**known, CONTROL: DIRECTORY} if not path.strip("/") else known

    def open(self, path: str) -> OpenFile:
        """Opens a file for reading. The caller calls `release` when done."""
        if (control := _control(path)) is not None:
            if self._controls.stat(control).kind is NodeKind.DIRECTORY:
                raise IsADirectory(path)
            return text_file(path, self._controls.content(control))
        hub, inner = self._hub_of(path)
        if hub is None:
            raise IsADirectory(path)
        return hub.open(inner)

    def hold(self, path: str) -> Release | None:
        """Has the model of the file at the path count as in use until the release; None where nothing of it is kept."""
        hub, inner = (None, "") if _control(path) is not None else self._hub_of(path)
        return None if hub is None else hub.hold(inner)

    def readlink(self, path: str) -> str:
        """The target of a symlink, relative. Raises `NotASymlink` for whatever else exists."""
        if (control := _control(path)) is not None:
            target = self._controls.target(control)
            if target is None:
                self._controls.stat(control)
                raise NotASymlink(path)
            return target
        hub, inner = self._hub_of(path)
        if hub is None:
            raise NotASymlink(path)
        return hub.readlink(inner)

    def attribute(self, path: str, name: str) -> str:
        """An extended attribute, `user.hubfs.*`. Raises `NotFound`, `NoSuchAttribute`."""
        hub, inner = (None, "") if _control(path) is not None else self._hub_of(path)
        if hub is None:
            raise NoSuchAttribute(f"{path} has no attribute {name}")
        return hub.attribute(inner, name)

    def room(self) -> TierStats:
        """How much the cache may keep and keeps: on disk, or in memory where there is no disk cache."""
        stats = self._cache.stats()
        return stats["disk"] if "disk" in stats else stats["memory"]

    def _hub_of(self, path: str) -> tuple[HubTree | None, str]:
        """The hub that `path` belongs to, and the path in it; None for the root of several hubs."""
        if self._alone is not None:
            return self._alone, path
        name, _, inner = path.strip("/").partition("/")
        if not name:
            return None, ""
        hub = self._hubs.get(name)
        if hub is None:
            raise EntryNotFound(f"no hub {name!r} is mounted here, but {', '.join(sorted(self._hubs))}")
        return hub, f"/{inner}"


def _told_below(dropped: Callable[[str], None], hub: str, path: str) -> None:
    dropped(f"/{hub}{path}" if hub else path)


def _control(path: str) -> tuple[str, ...] | None:
    """The segments below `/.hubfs` of a path there; None for another path."""
    segments = tuple(filter(None, path.split("/"))) if path.lstrip("/").startswith(CONTROL) else ()
    return segments[1:] if segments[:1] == (CONTROL,) else None
