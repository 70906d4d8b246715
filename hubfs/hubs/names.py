"""The names of a hub's models: which there are, what a path is by them, and what client libraries call them."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, Protocol, cast

from hubfs.hubs.place import Place, Shown
from hubfs.hubs.registry import DEFAULT, kind_of
from hubfs.model_id import ModelId
from hubfs.waiting import Cancellation


class View(Protocol):
    """A directory in `/.hubfs` that looks like the cache of a client library, so that unmodified programs use it.

    Implementations derive from this class. A path is relative to the view's directory. Of `target`, `content` and
    `is_folder` at most one has an answer for a path, which is never empty. Each may ask the hub what `Known` asks.
    """

    def target(self, path: str) -> str | None:
        """Where the symlink at `path` leads, relative to the directory that it is in; None for no symlink."""
        ...

    def content(self, path: str) -> bytes | None:  # noqa: ARG002 - for those that have files
        """The bytes of the file at `path`; None for no file."""
        return None

    def is_folder(self, path: str) -> bool:  # noqa: ARG002 - for those that have directories
        """Whether there is a directory at `path`."""
        return False

    def shown(self, path: str) -> Shown:  # noqa: ARG002 - for those that list
        """The names in the directory at `path` ("" for the view itself), that are worth a listing. Asks nobody."""
        return Shown(())


@dataclass(frozen=True)
class Known:
    """What is known of a hub's models, for its listings and views.

    Nobody is asked for `known_children` and `known_versions`: the names directly below a folder, and the versions of a
    name, that lead to models which were found or are cached; `led`: the names without a version that were asked for;
    `expected`: where such a name led last, None if it never did.

    The others may ask the hub. `children`: the names directly below a folder that the hub lists, None where it lists
    nothing. `versions`: those of a name that the hub is known to have. `latest`: the version that a name stands for.
    `handles`: those of all models that are known. `is_folder`: whether a directory is at a path below the hub's root,
    None where nothing is. `latest` and `is_folder` raise what kept the hub from answering, and `latest`
    `ModelNotFound`.
    """

    known_children: Callable[[str], Collection[str]]
    known_versions: Callable[[str], Collection[str]]
    children: Callable[[str], Sequence[str] | None]
    versions: Callable[[str], Sequence[str]]
    led: Callable[[], Iterable[str]]
    expected: Callable[[str], str | None]
    latest: Callable[[str], str]
    handles: Callable[[], Iterable[str]]
    is_folder: Callable[[str], bool | None]


Patience = Callable[[Callable[[], Any]], Any]
"""Puts a question to a hub, and returns its answer. Raises `TimedOut` where that takes longer than a listing may."""


class Names(Protocol):
    """The grammar of a hub's names, and the names that are written down somewhere. Only `renew` asks the hub.

    Implementations derive from this class, and write the methods that have no body here.
    """

    root_files: Sequence[str] = ()
    """The files of which every model that is stored under such a name has one in its root, where that is known."""

    def parse(self, text: str) -> ModelId:
        """Reads `str(model)`. Raises `InvalidHandle`."""
        ...

    def find(self, text: str) -> tuple[str, str | None] | None:
        """The name and the version (None: the latest) in a handle or a URL of this hub; None for one of another hub.

        Raises `InvalidHandle` for a text that names no model.
        """
        if "://" in text:
            return None
        model = self.parse(text)
        return model.name, model.version

    def path(self, name: str, version: str | None) -> str:
        """Where a version of `name` is, below the hub's root; of no version, the symlink to the newest."""
        return f"{name}/{version or 'latest'}"

    def place(self, path: str) -> Place:
        """What `path` (absolute, below the hub's root) is. Raises `EntryNotFound`, `NotInCatalogue`."""
        ...

    def shown(self, folder: tuple[str, ...], known: Known) -> Shown:
        """The names in a directory above models."""
        ...

    def age(self, version: str) -> Any:
        """Sorts the versions of a name, the oldest first."""
        ...

    def are_versions_below(self, name: str) -> bool:  # noqa: ARG002 - for those of which it depends on the name
        """Whether a number below `name` is a version for sure, and not perhaps a part of a longer name."""
        return True

    def written_versions(self, name: str) -> Sequence[str]:  # noqa: ARG002 - for those that have a catalogue
        """The versions of `name` that are written down, ascending."""
        return ()

    def written(self) -> Sequence[str]:
        """The handles of all models that are written down."""
        return ()

    def renew(self, patiently: Patience) -> None:  # noqa: ARG002 - for those that have a catalogue
        """Asks the hub, through `patiently`, for what it wrote down, if that may have changed. Raises `Cancelled`."""
        return

    def views(self, known: Known, root: str) -> Mapping[str, View]:  # noqa: ARG002 - for those that have views
        """The caches of client libraries that these names can stand for, by their names in `/.hubfs`.

        `root` leads from the view's directory to the hub's root.
        """
        return {}


def names_at(hub_url: str, cancellation: Cancellation | None = None, catalog: Path | None = None) -> Names:
    """How the hub at `hub_url` names its models; `catalog`: the file in which they are written down.

    Asks nobody, and imports no hub. Raises `InvalidConfig` for a file that cannot be used.
    """
    names_of = (kind_of(hub_url) or DEFAULT).names or DEFAULT.names
    return cast("Names", resolve_name(names_of)(hub_url, cancellation or Cancellation(), catalog))
