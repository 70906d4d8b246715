"""A directory that looks like kagglehub's cache: for each versioned handle, a symlink to the model. No I/O."""

from hubfs.hubs.kaggle import names
from hubfs.hubs.names import View

_MARKER = ".complete"
"""What ends the name of a marker, and the name of the folder that holds the markers of files."""


class KagglehubCache(View):
    """Answers for the paths in `/.hubfs/kagglehub`; `root` leads from that directory to the hub's root.

    The layout is the one of kagglehub 0.3.13 to 1.0.3 (`kagglehub/cache.py`), where V is the folder
    `models/OWNER/MODEL/FRAMEWORK/VARIATION`, the framework in any case:

    - `V/N` is the model, `V/N.complete` the marker that the model is whole.
    - `V/.complete/N/PATH.complete` is the marker of a file. A directory whose own name ends in `.complete` is taken for
      a marker: of files in such a directory there are none.

    A marker is a symlink to what it vouches for. `os.path.exists` follows it, so a marker exists where the model or the
    file does, as the hub's own tree says, and at the price of a lookup there.
    """

    def __init__(self, root: str) -> None:
        self._root = root

    def target(self, path: str) -> str | None:
        """The model, or a path in it, for what looks like either or like a marker; whether it exists or not."""
        match _variation(path):
            case (name, [version]):
                version, inner = version.removesuffix(_MARKER), []
            case (name, [folder, version, *folders, marker]) if folder == _MARKER and len(marker) > len(_MARKER):
                if not marker.endswith(_MARKER):
                    return None
                inner = [*folders, marker.removesuffix(_MARKER)]
            case _:
                return None
        if not names.is_version(version):
            return None
        return "/".join([*[".."] * path.count("/"), self._root, *name, version, *inner])

    def is_folder(self, path: str) -> bool:
        """Whether `path` could lead to a model or to a marker."""
        match _variation(path):
            case (_, [] | [".complete"]):
                return True
            case (_, [".complete", version, *_]):
                return names.is_version(version) and self.target(path) is None
        return False


def _variation(path: str) -> tuple[tuple[str, ...], list[str]] | None:
    """Up to four segments of a name, the framework as handles spell it, and what follows; None for another path."""
    kind, *segments = path.split("/")
    name = names.canonical(segments[: names.NAME_SEGMENTS]) if kind == "models" else None
    return None if name is None else (name, segments[names.NAME_SEGMENTS :])
