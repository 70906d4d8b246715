"""The tree of a commit, as the hub lists it. No I/O."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from hubfs.blobs.checksums import SHA256, Checksum
from hubfs.blobs.running_hash import GIT_SHA1
from hubfs.errors import quoted

LFS, GIT = SHA256, GIT_SHA1
"""By which checksum a file of LFS is known, and one of Git."""

_LONGEST_QUERY = 8192


@dataclass(frozen=True)
class Listed:
    """A file as a tree lists it. Its `checksum` names the bytes: LFS has files by sha256, Git has them by sha1."""

    size_bytes: int
    checksum: Checksum

    @property
    def in_lfs(self) -> bool:
        """Whether the bytes are in LFS, and so not at the hub itself."""
        return self.checksum.algorithm == LFS


def add_files(page: Iterable[Any], files: dict[str, Listed]) -> None:
    """Adds to `files` those of a page of a tree. Directories follow from these, and submodules have no bytes here.

    Raises `ValueError` for an entry that is not as the hub writes it, for a file without a size or a hash, and for one
    path of two files: an entry may come twice.
    """
    for entry in page:
        if not isinstance(entry, dict) or not isinstance(entry.get("path"), str):
            raise ValueError("an entry has no path")  # noqa: TRY004 - callers take ValueError for a malformed page
        if entry.get("type") == "file":
            file = _listed(entry)
            if files.setdefault(entry["path"], file) != file:
                raise ValueError(f"'{quoted(entry['path'])}' is two files")


def folders_in(page: Iterable[Any], above: str) -> list[str]:
    """The folders that a page of the list of the folder `above` has. Raises `ValueError` for one that is not in it."""
    start = f"{above}/" if above else ""
    found = [str(entry.get("path")) for entry in page if isinstance(entry, dict) and entry.get("type") == "directory"]
    if any(not path.startswith(start) or {"", ".", ".."} & {*path.split("/")} for path in found):
        raise ValueError(f"'{quoted(above)}' has a folder that is elsewhere")
    return found


def _listed(entry: Mapping[str, Any]) -> Listed:
    size_bytes, oid, lfs = entry.get("size"), entry.get("oid"), entry.get("lfs")
    algorithm = GIT
    if lfs is not None:
        if not isinstance(lfs, dict) or lfs.get("size") != size_bytes:
            raise ValueError("a file has two sizes, or a pointer to nothing")
        algorithm, oid = LFS, lfs.get("oid")
    if type(size_bytes) is not int or size_bytes < 0 or not isinstance(oid, str):
        raise ValueError("a file has no size, or no hash")
    return Listed(size_bytes, Checksum(algorithm, oid))


def next_query(link: str) -> str | None:
    """The query of the next page, by the `Link` header of a page; None for the last page. Raises `ValueError`.

    The host that it names is not asked: a mirror passes on the links of the hub behind it.
    """
    for part in link.split("<")[1:]:
        url, _, parameters = part.partition(">")
        if 'rel="next"' in parameters.replace(" ", ""):
            query = urlsplit(url).query
            if not query or not query.isascii() or not query.isprintable() or len(query) > _LONGEST_QUERY:
                raise ValueError("the link to the next page is none")
            return query
    return None
