"""Directories of handles: what `ls` shows above the models."""

from collections.abc import Iterable

from hubfs.hub.handle import Handle


def children(handles: Iterable[Handle], folder: tuple[str, ...]) -> list[str]:
    """The names directly below `folder` (path segments), for a tree of these handles; sorted."""
    depth = len(folder)
    names = set()
    for handle in handles:
        segments = str(handle).split("/")
        if len(segments) > depth and tuple(segments[:depth]) == folder:
            names.add(segments[depth])
    return sorted(names)
