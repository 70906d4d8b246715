"""The names of the Hugging Face Hub: NAMESPACE/NAME, revisions, and commits, which are the versions. No I/O.

The grammar of ids and revisions is the one of huggingface_hub 2.4 (`utils/_validators.py`, `_hf_uris.py`).
"""

from collections.abc import Sequence
from urllib.parse import quote, unquote, urlsplit

from hubfs.errors import EntryNotFound, InvalidHandle, quoted
from hubfs.hubs.huggingface.about import ABOUT
from hubfs.hubs.place import Alias, Folder, FolderOrAlias, InModel, Place
from hubfs.model_id import ModelId

MAIN = "main"
"""The revision where none is named."""

DATASETS = "datasets"
"""The folder of datasets: `datasets/NAMESPACE/NAME`."""

_RESERVED = frozenset({DATASETS, "spaces", "kernels", "buckets", "models"})
"""Paths of the hub that are no namespaces."""

_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.")
_LONGEST_ID = 96
_COMMIT_DIGITS = 40
_LONGEST_REVISION = 200
_NOT_IN_REVISIONS = frozenset(" ~^:?*[\\")
"""git-check-ref-format(1) forbids them, and control characters."""

_REFS = "refs"
_KINDS_OF_REFS = ("pr", "convert")
_PAGES = ("tree", "blob", "resolve", "raw", "commit", "commits")
"""What the web pages of a repository call a revision by: `/BAAI/bge-m3/tree/main`."""


def is_id(text: str) -> bool:
    """Whether `text` could be a namespace, or the name of a repository."""
    return (
        0 < len(text) <= _LONGEST_ID
        and {*text} <= _LETTERS
        and not {text[0], text[-1]} & {"-", "."}
        and "--" not in text
        and ".." not in text
        and not text.endswith(".git")
    )


def is_repo(text: str) -> bool:
    """Whether `text` is NAMESPACE/NAME, or `datasets/NAMESPACE/NAME`."""
    parts = text.removeprefix(f"{DATASETS}/").split("/")
    return len(parts) == len(("namespace", "name")) and all(map(is_id, parts)) and parts[0] not in _RESERVED


def is_single(text: str) -> bool:
    """Whether `text` could be an id without a namespace: `gpt2`, or `datasets/squad`."""
    name = text.removeprefix(f"{DATASETS}/")
    return is_id(name) and name not in _RESERVED


def is_commit(text: str) -> bool:
    """Whether `text` is a commit in full: 40 hexadecimal digits."""
    return len(text) == _COMMIT_DIGITS and {*text} <= {*"0123456789abcdef"}


def is_revision(text: str) -> bool:
    """Whether `text` could be a branch, a tag, a reference, or the start of a commit."""
    return (
        0 < len(text) <= _LONGEST_REVISION
        and text.isprintable()
        and text != _REFS
        and not {*text} & _NOT_IN_REVISIONS
        and ".." not in text
        and not text.startswith(("-", "/"))
        and not text.endswith(("/", ".", ".lock"))
    )


def alias_of(repo: str, revision: str) -> str:
    """The name of the alias of a revision: `BAAI/bge-m3@feature%2Fx`. Slashes of the revision are `%2F`."""
    return f"{repo}@{quote(revision, safe='')}"


def revisions_of(repo: str) -> str:
    """The folder of the aliases of a repository."""
    return f"{repo}@"


def revision_of(alias: str) -> tuple[str, str]:
    """The repository and the revision that an alias names: of a repository alone, `MAIN`."""
    repo, _, revision = alias.partition("@")
    return repo, unquote(revision) or MAIN


def target(alias: str, repo: str, commit: str) -> str:
    """Where an alias leads: to `commit` of the repository that the hub calls `repo`, from the folder of the alias."""
    here = alias.partition("@")[0].split("/")[:-1]
    there = f"{repo}@{commit}".split("/")
    if there[: len(here)] == here:
        return "/".join(there[len(here) :])
    return "/".join([*[".."] * len(here), *there])


def parse(text: str) -> ModelId:
    """Reads `BAAI/bge-m3/COMMIT`; and an alias with what it led to: `BAAI/bge-m3@main/bge-m3@COMMIT`.

    Raises `InvalidHandle`.
    """
    name, at, rest = text.partition("@")
    if at:
        path = name.split("/")[:-1]
        for segment in rest.partition("/")[2].split("/"):
            path = path[:-1] if segment == ".." else [*path, segment]
        name, _, commit = "/".join(path).rpartition("@")
    else:
        name, _, commit = text.rpartition("/")
    if not is_repo(name) or not is_commit(commit):
        raise _invalid(text)
    return ModelId(name, commit)


def find(text: str) -> tuple[str, str | None] | None:
    """The name and the commit in a handle or a URL; of another revision, the alias and None. None for another host.

    Takes `hf:BAAI/bge-m3`, `hf://BAAI/bge-m3@v1`, and the URLs that a browser shows. What follows the revision is a
    path in the repository, and is left out. Raises `InvalidHandle` for a text that names no repository.
    """
    revision = ""
    if "://" in text and not text.startswith("hf://"):
        try:
            url = urlsplit(text)
        except ValueError:
            raise _invalid(text) from None
        if url.scheme not in ("https", "http") or url.hostname not in ABOUT.hosts:
            return None
        parts = [part for part in url.path.split("/") if part]
        end = len(_prefix(parts)) + 2
        if parts[end : end + 1] and parts[end] in _PAGES and len(parts) > end + 1:
            revision = _first_revision([unquote(part) for part in parts[end + 1 :]])
        parts = parts[:end]
    else:
        repo, _, rest = text.removeprefix("hf:").removeprefix("//").partition("@")
        parts = [part for part in repo.split("/") if part]
        revision = _first_revision(rest.split("/")) if rest else ""
        if not rest and len(parts) > 1 and is_commit(parts[-1]):  # as str(model) has it
            revision = parts.pop()
    name = "/".join(parts)
    single = is_single(name)
    if not (is_repo(name) or single) or (revision and not is_revision(revision)):
        raise _invalid(text)
    if is_commit(revision) and not single:
        return name, revision
    return (alias_of(name, revision or MAIN) if revision or single else name), None


def _first_revision(parts: Sequence[str]) -> str:
    """The revision that `parts` of a path begin with: of three, where they are a reference."""
    if parts[0] == _REFS and len(parts) > len(_KINDS_OF_REFS) and parts[1] in _KINDS_OF_REFS:
        return "/".join(parts[:3])
    return unquote(parts[0])


def _invalid(text: str) -> InvalidHandle:
    return InvalidHandle(
        f"'{quoted(text)}' is no handle of the Hugging Face Hub: it must read NAMESPACE/NAME, or "
        "NAMESPACE/NAME@REVISION, such as BAAI/bge-m3@main"
    )


def _prefix(segments: Sequence[str]) -> tuple[str, ...]:
    return (DATASETS,) if tuple(segments[:1]) == (DATASETS,) else ()


def place_of(path: str, known_namespace: str = "") -> Place:
    """What `path` (absolute, below the hub's root) is. Raises `EntryNotFound` for what cannot exist.

    A commit in full is a directory, every other revision a symlink. A reference is spelled in one segment
    (`name@refs%2Fpr%2F1`), or as folders (`name@refs/pr/1`). An id without a namespace cannot be told from a namespace
    (`gpt2`), but for the one that is known, and where it has a revision (`gpt2@main`).
    """
    segments = tuple(segment for segment in path.split("/") if segment)
    prefix = _prefix(segments)
    rest = segments[len(prefix) :]
    if not rest:
        return Folder(segments)
    namespace, at, revision = rest[0].partition("@")
    if not is_id(namespace) or namespace in _RESERVED:
        raise _nowhere(path)
    if at:
        return _at_revision("/".join((*prefix, namespace)), revision, rest[1:], segments)
    if len(rest) == 1:
        folder = Folder(segments)
        return (
            folder if namespace == known_namespace else FolderOrAlias(folder, Alias(alias_of("/".join(segments), MAIN)))
        )
    name, at, revision = rest[1].partition("@")
    if not is_id(name):
        raise _nowhere(path)
    repo = "/".join((*prefix, namespace, name))
    if is_commit(revision):
        return InModel(ModelId(repo, revision), "/".join(rest[2:]))
    return _at_revision(repo, revision if at else MAIN, rest[2:], segments)


def _at_revision(repo: str, text: str, inner: tuple[str, ...], segments: tuple[str, ...]) -> Place:
    """The place of a revision that is no commit in full."""
    if text == _REFS:
        if not inner or inner in [(kind,) for kind in _KINDS_OF_REFS]:
            return Folder(segments)
        text, inner, prefix = "/".join((text, *inner[:2])), inner[2:], "../../"
        known = text.split("/")[1] in _KINDS_OF_REFS
    else:
        text, prefix, known = unquote(text), "", True
    if inner or not known or not is_revision(text):
        raise _nowhere("/".join(segments))
    return Alias(alias_of(repo, text), prefix)


def _nowhere(path: str) -> EntryNotFound:
    return EntryNotFound(f"'{quoted(path)}' cannot lead to a repository of the Hugging Face Hub")
