"""Where things lie in the cache directory, so that listing it makes sense to a person.

CACHEDIR.TAG
models/<hub>/<publisher>/<name…>/<version>@<identity>/
    index.json          the model's entries; there only when they are known and, for an archive, verified
    archive.hubfs-index of an archive: where inflating may start (checkpoints)
    in-use              locked (shared) while somebody reads the model; its mtime is the last use
    data/<path>         the file itself, sparse where blocks are missing
    blocks/<path>       its block map
trash/                  what is being deleted
"""

import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from hubfs.cache.block_cache import CacheKey

# https://bford.info/cachedir/: backup programs leave a directory with this file alone.
_TAG = "Signature: 8a477f597d28d172789f06886806bc55\n# This is the cache of hubfs; deleting it loses no model.\n"


class CacheLayout:
    """Paths below `root`. Only `prepare` touches the disk; only `models` reads it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.models_root = root / "models"
        self.trash = root / "trash"

    def prepare(self) -> None:
        """Makes the directories, and empties the trash, where a kill may have left something. Raises OSError."""
        # Private hubs: what is cached is for who mounted. A directory that exists keeps the mode that it has.
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.models_root.mkdir(exist_ok=True)
        self.trash.mkdir(exist_ok=True)
        for left_over in self.trash.iterdir():
            shutil.rmtree(left_over, ignore_errors=True)
        tag = self.root / "CACHEDIR.TAG"
        if not tag.exists():
            tag.write_text(_TAG, encoding="ascii")

    def model(self, model: str) -> Path:
        """The directory of a model. Raises OSError for a name that would lead elsewhere."""
        return self.models_root / _relative(model)

    def index(self, model: str) -> Path:
        """The model's index."""
        return self.model(model) / "index.json"

    def archive_index(self, model: str) -> Path:
        """The index file of the model's archive."""
        return self.model(model) / "archive.hubfs-index"

    def block_folders(self, model: str) -> tuple[Path, Path]:
        """What a model's blocks are in: the data, and the maps, without which the data is nothing."""
        return self.model(model) / "blocks", self.model(model) / "data"

    def in_use(self, model: str) -> Path:
        """The file that is locked while the model is in use."""
        return self.model(model) / "in-use"

    def data(self, key: CacheKey) -> Path:
        """The data file of a file."""
        return self.model(key.model) / "data" / _relative(key.path)

    def blocks(self, key: CacheKey) -> Path:
        """The block map of a file."""
        return self.model(key.model) / "blocks" / _relative(key.path)

    def models(self, below: str = "") -> Iterator[str]:
        """All models that have a directory, or those below a `<hub>` or `<hub>/<publisher>/…`."""
        start = self.models_root / _relative(below) if below else self.models_root
        for folder, names, _ in os.walk(start):
            for name in [name for name in names if "@" in name]:
                names.remove(name)
                yield (Path(folder) / name).relative_to(self.models_root).as_posix()


def _relative(name: str) -> str:
    if any(part in ("", ".", "..") for part in name.split("/")) or "\0" in name:
        raise OSError(errno.EINVAL, "not a path inside the cache", name)
    return name
