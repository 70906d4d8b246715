"""A directory that looks like huggingface_hub's cache: the commits of each repository as snapshots. No I/O."""

from collections.abc import Iterator

from hubfs.errors import InvalidHandle, ModelNotFound
from hubfs.hubs.huggingface import names
from hubfs.hubs.names import Known, View
from hubfs.hubs.place import Shown

_TAG = "CACHEDIR.TAG"
_TAG_TEXT = b"Signature: 8a477f597d28d172789f06886806bc55\n"
"""By the Cache Directory Tagging Specification: programs that make backups leave such a directory out."""

_BETWEEN = "--"
"""Stands for the slashes of an id in the name of a directory, and is in no id."""

_KINDS = {"models": "", names.DATASETS: f"{names.DATASETS}/"}
"""What the name of a directory begins with, and how a path of the hub begins there."""

_BLOBS, _REFS, _SNAPSHOTS, _ABSENT = "blobs", "refs", "snapshots", ".no_exist"
_OF_REFERENCES = ("refs", "refs/pr", "refs/convert")


class HuggingFaceCache(View):
    """Answers for the paths in `/.hubfs/huggingface`; `root` leads from that directory to the hub's root.

    The layout is the one of huggingface_hub 2.4 (`file_download.py`), where R is `models--NAMESPACE--NAME`,
    `models--NAME` of an id without a namespace, or `datasets--…`:

    - `R/refs/REVISION` is a file that holds the commit. A reference, and a branch with slashes, is in folders.
    - `R/snapshots/COMMIT` is a symlink to the commit's directory.
    - `R/blobs` is empty: files of a snapshot need not be symlinks to blobs.
    - `R/.no_exist/COMMIT/PATH` is an empty file where the commit has no such path.

    R itself exists for every id, as the directory of a namespace does: its refs and snapshots tell of a repository.
    """

    def __init__(self, known: Known, root: str) -> None:
        self._known = known
        self._root = root

    def target(self, path: str) -> str | None:
        """The directory of a commit, whether it exists or not; of an id without a namespace, if the hub knows it."""
        match _repository(path):
            case (repo, [folder, commit]) if folder == _SNAPSHOTS and names.is_commit(commit):
                root = self._root_of(repo, commit)
                return root and "/".join([*[".."] * path.count("/"), self._root + root])
        return None

    def content(self, path: str) -> bytes | None:
        """The commit that a revision stands for now; nothing, for a path that a commit does not have."""
        if path == _TAG:
            return _TAG_TEXT
        match _repository(path):
            case (repo, [folder, *revision]) if folder == _REFS:
                found = self._asked(repo, "/".join(revision))
                return None if found is None else found[1].encode()
            case (repo, [folder, commit, *inner]) if folder == _ABSENT and inner and names.is_commit(commit):
                root = self._root_of(repo, commit)
                is_there = root is not None and self._known.is_folder(root)
                return b"" if is_there and self._known.is_folder(f"{root}/{'/'.join(inner)}") is None else None
        return None

    def is_folder(self, path: str) -> bool:
        """Whether `path` is a directory of a repository, or leads to a revision with slashes that the hub names."""
        match _repository(path):
            case (_, [] | ["blobs"] | ["refs"] | ["snapshots"] | [".no_exist"]):
                return True
            case (repo, [folder, commit, *inner]) if folder == _ABSENT and names.is_commit(commit):
                root = self._root_of(repo, commit)
                return not inner or (root is not None and bool(self._known.is_folder(f"{root}/{'/'.join(inner)}")))
            case (repo, [folder, *inner]) if folder == _REFS:
                start = "/".join(inner)
                return start in _OF_REFERENCES or (self._asked(repo, start) is None and self._leads(repo, start))
        return False

    def shown(self, path: str) -> Shown:
        """The repositories of which commits are known; these commits, and the revisions that were asked for."""
        if not path:
            return Shown({_folder_of(repo) for repo in self._repositories()}, texts=[_TAG])
        match _repository(path):
            case (_, []):
                return Shown([_BLOBS, _REFS, _SNAPSHOTS])
            case (repo, [folder]) if folder == _SNAPSHOTS:
                commits = {*self._known.known_versions(repo), *(commit for _, commit in self._led(repo))}
                return Shown((), links=commits)
            case (repo, [folder, *inner]) if folder == _REFS:
                start = "/".join([*inner, ""])
                below = {revision.removeprefix(start) for revision, _ in self._led(repo) if revision.startswith(start)}
                folders = {name.partition("/")[0] for name in below if "/" in name}
                return Shown(folders, texts=[name for name in below if "/" not in name])
        return Shown(())

    def _repositories(self) -> Iterator[str]:
        for start in _KINDS.values():
            for namespace in self._known.known_children(start.rstrip("/")):
                for name in self._known.known_children(start + namespace):
                    if names.is_repo(f"{start}{namespace}/{name}"):
                        yield f"{start}{namespace}/{name}"
        for alias in self._known.led():
            yield names.revision_of(alias)[0]

    def _led(self, repo: str) -> Iterator[tuple[str, str]]:
        """The revisions of a repository that were asked for, and the commits that they led to last."""
        asked = (alias for alias in self._known.led() if names.revision_of(alias)[0] == repo)
        for alias in {names.alias_of(repo, names.MAIN), *asked}:
            target = self._known.expected(alias)
            if target is not None:
                yield names.revision_of(alias)[1], names.parse(f"{alias}/{target}").version

    def _asked(self, repo: str, revision: str) -> tuple[str, str] | None:
        """The name that the hub has for a repository, and the commit of a revision; None where there is none."""
        if names.is_commit(revision) or revision in _OF_REFERENCES or not names.is_revision(revision):
            return None
        alias = names.alias_of(repo, revision)
        try:
            model = names.parse(f"{alias}/{self._known.latest(alias)}")
        except (ModelNotFound, InvalidHandle):
            return None
        return model.name, model.version

    def _leads(self, repo: str, start: str) -> bool:
        """Whether the hub names a revision of a repository that begins with `start` and a slash."""
        could = names.is_repo(repo) and names.is_revision(start) and not names.is_commit(start)
        revisions = self._known.children(names.revisions_of(repo)) if could else None
        return any(revision.startswith(f"{start}/") for revision in revisions or ())

    def _root_of(self, repo: str, commit: str) -> str | None:
        """The path of a commit below the hub's root: of an id without a namespace, if the hub has a name for that."""
        if not names.is_repo(repo):
            found = self._asked(repo, names.MAIN)
            if found is None:
                return None
            repo = found[0]
        return f"/{repo}@{commit}"


def _folder_of(repo: str) -> str:
    kind = "" if repo.startswith(f"{names.DATASETS}/") else "models/"
    return f"{kind}{repo}".replace("/", _BETWEEN)


def _repository(path: str) -> tuple[str, list[str]] | None:
    """The repository that a path begins with, and what follows; None for another path."""
    folder, *inner = path.split("/")
    kind, *parts = folder.split(_BETWEEN)
    repo = _KINDS.get(kind, "") + "/".join(parts)
    return (repo, inner) if kind in _KINDS and (names.is_repo(repo) or names.is_single(repo)) else None
