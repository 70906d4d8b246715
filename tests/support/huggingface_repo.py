"""What the stand-in for the Hugging Face Hub has: repositories, commits, files; and how its answers name them."""

import hashlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

_LARGE_BYTES = 1 << 20
_WEIGHTS = (".safetensors", ".bin", ".gguf", ".onnx")
_DATE = "2024-06-01T12:00:00.000Z"
_SHORTEST_COMMIT = 7


class Made:
    """The content of a large file, made when it is asked for: `block` has the bytes of each MiB by its number.

    Without a `sha256` the tree names one that is made up.
    """

    def __init__(self, size_bytes: int, block: Callable[[int], bytes], sha256: str | None = None) -> None:
        self.sha256 = sha256 or hashlib.sha256(f"{size_bytes} made".encode()).hexdigest()
        self._size_bytes = size_bytes
        self._block = block

    def __len__(self) -> int:
        return self._size_bytes

    def __getitem__(self, part: slice) -> bytes:
        start, stop, _ = part.indices(self._size_bytes)
        first = start >> 20
        blocks = b"".join(map(self._block, range(first, (stop - 1 >> 20) + 1)))
        return blocks[start - (first << 20) : stop - (first << 20)]


Content = bytes | Made


@dataclass(frozen=True)
class Blob:
    """A file's bytes, in Git or in LFS."""

    content: Content
    lfs: bool

    @cached_property
    def git_sha1(self) -> str:
        """Of the file, or of the pointer to it that Git has."""
        return _git_sha1(self._pointer if self.lfs else self.content[:])

    @cached_property
    def sha256(self) -> str:
        return self.content.sha256 if isinstance(self.content, Made) else hashlib.sha256(self.content).hexdigest()

    @property
    def _pointer(self) -> bytes:
        version = "version https://git-lfs.github.com/spec/v1"
        return f"{version}\noid sha256:{self.sha256}\nsize {len(self.content)}\n".encode()

    def sent(self, rotten_at: int | None) -> Content:
        """The bytes, of which perhaps one is wrong."""
        if rotten_at is None:
            return self.content
        return self.content[:rotten_at] + bytes([self.content[rotten_at] ^ 1]) + self.content[rotten_at + 1 :]

    def entry(self, path: str) -> dict[str, Any]:
        """What a tree says of it."""
        entry = {"type": "file", "path": path, "size": len(self.content), "oid": self.git_sha1}
        if self.lfs:
            entry["lfs"] = {"oid": self.sha256, "size": len(self.content), "pointerSize": len(self._pointer)}
        return entry


def _git_sha1(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@dataclass
class Commit:
    """`lies` are what the tree says of a file instead of the truth."""

    sha: str
    files: Mapping[str, Blob]
    lies: dict[str, Mapping[str, object]] = field(default_factory=dict)


@dataclass
class Repo:
    """A repository: `NS/NAME`, or `datasets/NS/NAME`. `refs` are branches, tags and pull requests."""

    name: str
    commits: dict[str, Commit] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    rotten: dict[str, int] = field(default_factory=dict)

    def commit(self, files: Mapping[str, Content], branch: str, sha: str | None, lfs: Collection[str] | None) -> Commit:
        in_lfs = lfs if lfs is not None else [path for path, content in files.items() if _is_large(path, content)]
        blobs = {path: Blob(content, path in in_lfs) for path, content in files.items()}
        said = f"{self.name} {len(self.commits)} {sorted((path, blob.git_sha1) for path, blob in blobs.items())}"
        made = Commit(sha or hashlib.sha1(said.encode()).hexdigest(), blobs)
        self.commits[made.sha] = made
        self.refs[f"refs/heads/{branch}"] = made.sha
        return made

    def find(self, revision: str) -> Commit | None:
        """The commit of a branch, a tag, a reference, or of a commit's name, in full or from its start."""
        for ref in (f"refs/heads/{revision}", f"refs/tags/{revision}", revision):
            if ref in self.refs:
                return self.commits[self.refs[ref]]
        found = [sha for sha in self.commits if len(revision) >= _SHORTEST_COMMIT and sha.startswith(revision)]
        return self.commits[found[0]] if len(found) == 1 else None

    def info(self, commit: Commit | None, want: Mapping[str, str], *, gated: bool) -> dict[str, Any]:
        """What the API says of a model, at a commit."""
        if commit is None:
            return {}
        with_blobs = want.get("blobs", "").lower() == "true"
        siblings = [
            {"rfilename": path, **({"size": len(blob.content), "blobId": blob.git_sha1} if with_blobs else {})}
            for path, blob in commit.files.items()
        ]
        return {
            "_id": "621ffdc036468d709f174338",
            "id": self.name.removeprefix("datasets/"),
            "modelId": self.name,
            "sha": commit.sha,
            "lastModified": _DATE,
            "createdAt": _DATE,
            "private": False,
            "gated": "auto" if gated else False,
            "disabled": False,
            "downloads": 1,
            "likes": 1,
            "tags": ["safetensors"],
            "siblings": siblings,
        }

    def refs_told(self) -> dict[str, Any]:
        def of(start: str) -> list[dict[str, str]]:
            return [
                {"name": ref.removeprefix(start), "ref": ref, "targetCommit": sha}
                for ref, sha in self.refs.items()
                if ref.startswith(start)
            ]

        return {"branches": of("refs/heads/"), "tags": of("refs/tags/"), "converts": [], "pullRequests": of("refs/pr/")}


def _is_large(path: str, content: Content) -> bool:
    return len(content) > _LARGE_BYTES or path.endswith(_WEIGHTS)


def entries_of(commit: Commit, below: str, *, recursive: bool) -> list[dict[str, Any]]:
    """The tree of a commit, or the part of it in the folder `below`: files and directories, sorted."""
    start = f"{below}/" if below else ""
    found: dict[str, dict[str, Any]] = {}
    for path, blob in sorted(commit.files.items()):
        if not path.startswith(start):
            continue
        folders = path[len(start) :].split("/")[:-1]
        for depth in range(1, len(folders) + 1 if recursive else min(2, len(folders) + 1)):
            folder = start + "/".join(folders[:depth])
            found[folder] = {"type": "directory", "path": folder, "size": 0, "oid": _git_sha1(folder.encode())}
        if recursive or not folders:
            found[path] = {**blob.entry(path), **commit.lies.get(path, {})}
    return [found[path] for path in sorted(found)]
