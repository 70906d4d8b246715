"""Where things lie in the cache directory, so that listing it makes sense to a person.

CACHEDIR.TAG
models/<hub>/<publisher>/<name…>/<version>@<identity>/
    index.json          the model's entries; there only when they are known and, for an archive, verified; of a small
                        archive, the archive itself, too
    archive.hubfs-index of an archive: where inflating may start (checkpoints)
    in-use              locked (shared) while somebody reads the model; its mtime is the last use
    data/<path>         the file itself, sparse where blocks are missing; of a file with holes, what is between them
    blocks/<path>       its block map
    seals/<path>        of a file all of whose blocks are there: that they were verified, on this run of the machine
    turns/              leases: what is being fetched just now (see `DiskTurns`)
    local/model/        the whole model as a directory, for programs without a mount: data/ by other names (hard links),
                        but for files with holes
models/+blobs/<hub>/<name…>/<sha256>@<size>/
                        the same, of one file that every version of the model `<name…>` shares which has it
latest/<hub>/<name…>/@latest.json
                        the last answer of the hub for `latest`
pins/<hub>/<handle>/@pinned
                        the model is never evicted
trash/                  what is being deleted

Why the identity is part of a name: docs/decisions/identity.md. Why files are shared: docs/decisions/shared-blobs.md.
"""

import contextlib
import errno
import logging
import os
import stat
import uuid
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from hubfs.cache.block_cache import CacheKey
from hubfs.cache.disk.files import delete, make_folder, write_whole

_log = logging.getLogger(__name__)

# https://bford.info/cachedir/: backup programs leave a directory with this file alone.
_TAG = "Signature: 8a477f597d28d172789f06886806bc55\n# This is the cache of hubfs; deleting it loses no model.\n"


_PRIVATE = 0o700
_TAG_NAME = "CACHEDIR.TAG"
_OURS = frozenset({_TAG_NAME, "models", "trash", "latest", "pins"})
_PLACES = 4096
"""So many paths in models are remembered: to open a file takes six of them, which took a tenth of its time to make."""


class CacheLayout:
    """Paths below `root`. Only `prepare` and `discard` change anything on the disk; only `models` reads it.

    `_refusal` is set by `prepare` alone; a thread that does not see it yet is told a moment later.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.models_root = root / "models"
        self.trash = root / "trash"
        self._latest_root = root / "latest"
        self._pins_root = root / "pins"
        self._refusal: OSError | None = None

    def prepare(self) -> None:
        """Makes the directories, and empties the trash, where a kill may have left something.

        They are for who mounted, alone: what a private hub serves is in there, and nobody else is to put anything
        there. Raises OSError if they cannot be written; what is in them may still be read. If they are somebody
        else's, or symlinks, which may lead anywhere, each call that asks for a path says so, too.
        """
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._tighten_root()
        for folder in (self.models_root, self.trash):
            self._refusal = self._claim(folder)
            if self._refusal is not None:
                raise self._refusal
        for folder in (self._latest_root, self._pins_root):
            with contextlib.suppress(OSError):  # `latest` and `pin` say so: blocks are kept all the same
                if os.path.lexists(folder):
                    self._claim(folder)
        for folder in (self.models_root, self.trash):
            if not os.access(folder, os.W_OK | os.X_OK, effective_ids=True):
                read_only = os.statvfs(folder).f_flag & os.ST_RDONLY
                number = errno.EROFS if read_only else errno.EACCES
                raise OSError(number, os.strerror(number), str(folder))
        for left_over in self.trash.iterdir():
            delete(left_over)
        tag = self.root / _TAG_NAME
        if not os.path.lexists(tag):  # a symlink of somebody's may lead anywhere
            write_whole(tag, _TAG.encode(), self.root)

    def _claim(self, folder: Path) -> OSError | None:
        """Makes a directory, or makes it private; returns why it is not to be used. Raises OSError."""
        make_folder(folder, self.root)
        found = folder.lstat()
        refusal = _refusal(folder, found)
        if refusal is None and stat.S_IMODE(found.st_mode) != _PRIVATE:
            with contextlib.suppress(OSError):  # it cannot be written, or is root's: a write there says so
                folder.chmod(_PRIVATE)
        return refusal

    def _tighten_root(self) -> None:
        """Takes others' rights away from a directory that holds nothing but our own; never from one that others use.

        Raises OSError.
        """
        found = self.root.stat()
        if found.st_uid not in (os.geteuid(), 0):
            _log.warning(
                "The cache directory %s belongs to another user (%d), who may put his own in the place of what is in "
                "it: name another with --cache-dir",
                *(self.root, found.st_uid),
            )
        if not stat.S_IMODE(found.st_mode) & ~_PRIVATE:
            return
        is_ours = found.st_uid == os.geteuid() and not found.st_mode & stat.S_ISVTX
        if is_ours and _OURS.issuperset(path.name for path in self.root.iterdir()):
            with contextlib.suppress(OSError):
                self.root.chmod(_PRIVATE)
                return
        if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not found.st_mode & stat.S_ISVTX:
            _log.warning(
                "Other users may write to the cache directory %s, and so put their own in its place: "
                "`chmod go-w` it, or name another with --cache-dir",
                self.root,
            )

    def discard(self, path: Path) -> None:
        """Takes an entry of any kind away; nothing if it is not there. It vanishes at once. Raises OSError."""
        grave = self.trash / uuid.uuid4().hex
        make_folder(self.trash, self.root)  # somebody may have tidied up
        with contextlib.suppress(FileNotFoundError):
            path.rename(grave)
            delete(grave)

    def model(self, model: str) -> Path:
        """The directory of a model. Raises OSError for a name that would lead elsewhere."""
        return self._in_model(model)

    def _in_model(self, *names: str) -> Path:
        self._check()
        return _place(self.models_root, *names)

    def _check(self) -> None:
        if self._refusal is not None:
            raise OSError(self._refusal.errno, self._refusal.strerror, self._refusal.filename)

    def index(self, model: str) -> Path:
        """The model's index."""
        return self._in_model(model, "index.json")

    def has_index(self, model: str) -> bool:
        """Whether a model that `models` tells of has an index."""
        return os.path.exists(f"{self.models_root}/{model}/index.json")  # noqa: PTH110 - see `models`

    def archive_index(self, model: str) -> Path:
        """The index file of the model's archive."""
        return self._in_model(model, "archive.hubfs-index")

    def block_folders(self, model: str) -> tuple[Path, ...]:
        """What a model's bytes are in: the maps, without which the data is nothing, the data, seals, local files."""
        return tuple(self.model(model) / name for name in ("blocks", "data", "seals", "local"))

    def in_use(self, model: str) -> Path:
        """The file that is locked while the model is in use."""
        return self._in_model(model, "in-use")

    def turns(self, model: str) -> Path:
        """The directory of the leases on what is fetched of a model."""
        return self.model(model) / "turns"

    def latest(self, hub: str, name: str) -> Path:
        """The last answer for `name`. Raises OSError, also if such answers would lie at somebody else's."""
        return _ours(self._latest_root) / _relative(f"{hub}/{name}") / "@latest.json"  # no segment has an '@'

    def pin(self, model: str) -> Path:
        """The file that says that a model, of whatever identity, is pinned. Raises OSError, as `latest` does."""
        folder, slash, name = model.rpartition("/")
        return _ours(self._pins_root) / _relative(folder + slash + name.partition("@")[0]) / "@pinned"

    def local(self, model: str) -> Path:
        """What the directory of the whole model is in, and directories that are to become it."""
        return self.model(model) / "local"

    def data(self, key: CacheKey) -> Path:
        """The data file of a file."""
        return self._in_model(key.model, "data", key.path)

    def blocks(self, key: CacheKey) -> Path:
        """The block map of a file."""
        return self._in_model(key.model, "blocks", key.path)

    def seal(self, key: CacheKey) -> Path:
        """What says that a file was verified as a whole."""
        return self._in_model(key.model, "seals", key.path)

    def files(self, model: str) -> Iterator[CacheKey]:
        """All files of a model that have a block map. Raises OSError for a name that would lead elsewhere."""
        root = str(self.block_folders(model)[0])
        for folder, _, names in os.walk(root):
            for name in names:
                yield CacheKey(model, f"{folder}/{name}"[len(root) + 1 :])

    def models(self, below: str = "") -> Iterator[str]:
        """All models that have a directory, or those below a `<hub>` or `<hub>/<publisher>/…`."""
        self._check()
        root = str(self.models_root)  # texts, and no `Path`: every reader waits for this now and then, and there may be
        start = f"{root}/{_relative(below)}" if below else root  # thousands
        for folder, names, _ in os.walk(start):
            for name in [name for name in names if "@" in name]:
                names.remove(name)
                yield f"{folder}/{name}"[len(root) + 1 :]


def _ours(folder: Path) -> Path:
    """`folder`. Raises OSError if it is somebody else's."""
    with contextlib.suppress(FileNotFoundError):
        refusal = _refusal(folder, folder.lstat())
        if refusal is not None:
            raise refusal
    return folder


def _refusal(folder: Path, found: os.stat_result) -> OSError | None:
    if stat.S_ISLNK(found.st_mode):
        return OSError(errno.ELOOP, "it is a symlink, which may lead anywhere", str(folder))
    if found.st_uid not in (os.geteuid(), 0):  # what root prepared (in an image, say) is believed
        return PermissionError(errno.EPERM, "it belongs to another user, whose bytes are not believed", str(folder))
    return None


@lru_cache(_PLACES)
def _place(root: Path, *names: str) -> Path:
    """A path below `root`. Raises OSError for names that would lead elsewhere."""
    return root.joinpath(*map(_relative, names))


def _relative(name: str) -> str:
    parts = name.split("/")
    if "" in parts or "." in parts or ".." in parts or "\0" in name:
        raise OSError(errno.EINVAL, "not a path inside the cache", name)
    return name
