"""A bucket that is a hub, as a place for models."""

import fcntl
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from hubfs.blobs.gcs.object import GcsFolder
from hubfs.blobs.store import GcsStore, crc32c_of
from hubfs.commands.mirror.place import Found, Product
from hubfs.commands.mirror.provenance import MAX_SIZE_BYTES, SUFFIX, Provenance
from hubfs.errors import Damaged, InvalidConfig, NotFound
from hubfs.formats.index_file import SUFFIX as INDEX_SUFFIX
from hubfs.hubs.hosted import Hosted
from hubfs.model_id import ModelId


class BucketPlace:
    """The bucket of `store`, below its prefix. A version is an archive, and appears as one object."""

    takes_archives_alone = True

    def __init__(self, store: GcsStore) -> None:
        self._store = store

    def shown(self, handle: ModelId) -> str:
        """Its URL without an ending."""
        return f"{self._store.url}{handle}"

    @contextmanager
    def held(self) -> Iterator[Path]:
        """A folder of this user's and of this bucket's, in that for temporary files: a later run finds it again."""
        try:
            self._store.folder("")  # what is wrong with the bucket is told before anything is fetched
        except NotFound as error:
            raise InvalidConfig(f"{self._store.url} is in no bucket that there is ({error})") from error
        above = Path(tempfile.gettempdir()) / f"hubfs-mirror-{os.geteuid()}"
        folder = above / hashlib.sha256(self._store.url.encode()).hexdigest()[:16]
        try:
            above.mkdir(mode=0o700, exist_ok=True)
            status = above.lstat()
            if status.st_uid != os.geteuid() or status.st_mode & 0o022 or above.is_symlink():
                raise InvalidConfig(f"{above} is somebody else's: set TMPDIR to a directory of your own")
            folder.mkdir(mode=0o700, exist_ok=True)
            held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError as error:
            raise InvalidConfig(f"{error.filename} cannot be used: {error.strerror}; TMPDIR names another") from error
        try:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InvalidConfig(f"another process is mirroring to {self._store.url} just now") from None
            yield folder
        finally:
            os.close(held)

    def versions(self, name: str) -> Mapping[str, Provenance | None]:
        """The numbers with which names in the folder begin."""
        numbers = {entry.partition(".")[0] for entry in _names(self._store.folder(name))}
        return {number: self._provenance(ModelId(name, number)) for number in numbers if number.isdecimal()}

    def find(self, handle: ModelId) -> Found:
        """The archive of the version, and anything else that a reader would take for it."""
        listed = self._store.folder(handle.name)
        sizes = {obj.name.rpartition("/")[2]: obj.size_bytes for obj in listed.objects}
        names = [name for name in _names(listed) if name.partition(".")[0] == handle.version]
        models = sorted(name for name in names if not name.endswith((SUFFIX, INDEX_SUFFIX)))
        provenance = self._provenance(handle) if f"{handle.version}{SUFFIX}" in sizes else None
        return Found(tuple(models), sum(sizes.get(name, 0) for name in models), provenance)

    def is_same(self, handle: ModelId, found: Found, product: Product) -> bool:
        """By the crc32c that the store tells."""
        there = self._store.described(f"{handle.name}/{found.names[0]}")
        return len(found.names) == 1 and there is not None and there.checksum == crc32c_of(product.path)

    def tell(self, handle: ModelId, provenance: Provenance) -> None:
        """As an object."""
        self._store.put(f"{handle}{SUFFIX}", provenance.to_bytes())

    def put(self, hosted: Hosted, product: Product, sent: Callable[[int], None]) -> None:
        """The index before the archive."""
        name = f"{hosted.handle}{hosted.ending}"
        if product.index is not None:
            self._store.put_file(name + INDEX_SUFFIX, product.index, _parts_of(product.index), lambda _: None)
        self._store.put_file(name, product.path, _parts_of(product.path), sent)

    def _provenance(self, handle: ModelId) -> Provenance | None:
        name = f"{handle}{SUFFIX}"
        data = self._store.get(name)
        if data is not None and len(data) > MAX_SIZE_BYTES:
            raise Damaged(f"{self._store.url}{name} has more than {MAX_SIZE_BYTES} bytes: no provenance of a model")
        return None if data is None else Provenance.from_bytes(data, f"{self._store.url}{name}")


def _parts_of(file: Path) -> str:
    """The start of the names of parts of a file. No publisher's name begins with a dot."""
    return f".hubfs-mirror/{crc32c_of(file).value}-{file.stat().st_size}/"


def _names(listed: GcsFolder) -> list[str]:
    """The names directly in a folder, those of folders without their slash."""
    return [*(obj.name.rpartition("/")[2] for obj in listed.objects), *(one.split("/")[-2] for one in listed.prefixes)]
