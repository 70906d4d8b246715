"""The models that a handle means, or a directory above models."""

import posixpath
from collections.abc import Iterator

from hubfs.errors import ModelNotFound, NotFound, quoted
from hubfs.hubs.place import Alias, Folder, InModel, Link, Links
from hubfs.library.handles import Asked
from hubfs.library.model import source_at
from hubfs.tree.hub_tree import HubTree
from hubfs.tree.node import NodeKind
from hubfs.tree.places import place_at

_DEEPEST = 32


def paths_of(tree: HubTree, asked: Asked) -> list[str]:
    """The paths of the models: of a directory, the newest version of each model below it that the hub lists.

    Raises `ModelNotFound` where there is none, and what kept the hub from answering.
    """
    if asked.path != asked.folder:
        try:
            source_at(tree, asked.path)
        except NotFound:
            if not asked.folder:
                raise
            found = _below(tree, asked.folder)
            if not found:
                raise
            return found
        return [asked.path]
    found = _below(tree, asked.folder)
    if not found:
        raise ModelNotFound(f"no model is known below '{quoted(asked.text)}': name one, or one of its versions")
    return found


def _below(tree: HubTree, folder: str) -> list[str]:
    try:
        return [*_models(tree, folder, 0)]
    except NotFound:
        return []


def _models(tree: HubTree, path: str, depth: int) -> Iterator[str]:
    match place_at(tree.models, path):
        case InModel(_, "") | Alias() | Link():
            yield path
        case Links(links, folders):
            yield from (posixpath.join(path, name) for name in links)
            for name in folders if depth < _DEEPEST else ():
                yield from _models(tree, posixpath.join(path, name), depth + 1)
        case Folder() if depth < _DEEPEST:
            inside = tree.list(path)
            newest = [posixpath.join(path, name) for name, kind in inside if kind is NodeKind.SYMLINK]
            yield from newest
            for inner in (posixpath.join(path, name) for name, kind in inside if kind is NodeKind.DIRECTORY):
                # One of the links leads to the newest of the versions beside it.
                if not (newest and isinstance(tree.models.hub.names.place(inner), InModel)):
                    yield from _models(tree, inner, depth + 1)
