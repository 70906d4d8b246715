"""Directories of handles: what `ls` shows above the models."""

from collections.abc import Iterable

from hubfs.hub.handle import Handle


def children(handles: Iterable[Handle], folder: tuple[str, ...]) -> list[str]:
    """The names directly below `folder` (path segments), for a tree of these handles; sorted."""
    prefix = "".join(f"{segment}/" for segment in folder)
    below = (text.removeprefix(prefix) for handle in handles if (text := str(handle)).startswith(prefix))
    return sorted({path.partition("/")[0] for path in below})
