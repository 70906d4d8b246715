"""Reads a checkout of a hub's documentation repository: one Markdown file a model, whose title is its handle."""

import logging
import posixpath
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from hubfs.errors import InvalidConfig, InvalidHandle, quoted
from hubfs.hubs.tfhub.names.catalogue import Catalog, CatalogEntry, CatalogKind
from hubfs.hubs.tfhub.names.file import to_json_lines, write_catalog
from hubfs.hubs.tfhub.names.handle import COLLECTION, is_name, is_version, parse_handle

_log = logging.getLogger(__name__)

_STDOUT = Path("-")
_FOLDER = Path("assets", "docs")
_MAX_DOCUMENT_BYTES = 4 * 1024 * 1024
_TITLE = re.compile(rf"#\s+({'|'.join(kind.value for kind in CatalogKind)})\s+(\S+)\s*")
_JOINERS = re.compile("&zwnj;|\u200c")  # invisible, in titles, so that browsers do not break handles
_COLLECTION_SEGMENTS = (COLLECTION, "collections")
_CODE = re.compile(r"^ {0,3}(```|~~~).*?(^ {0,3}\1|\Z)", re.MULTILINE | re.DOTALL)
# The target of a Markdown link, or an address in the text: some collections list their models in comments.
_LINK = re.compile(r"""\]\(\s*<?([^\s()<>]+)|(https?://[^\s()<>\[\]"'`|\\]+)""")
_HOSTS = ("tfhub.dev", "www.tfhub.dev")


def import_documentation(directory: Path, output: Path) -> str:
    """Makes the catalogue file `output` of a checkout of a hub's documentation repository.

    Returns what to say of it; for the output `-`, the catalogue itself. Raises `InvalidConfig` when there is no
    documentation in `directory`, or `output` cannot be written.
    """
    entries = Catalog(read_documentation(directory)).entries
    if output == _STDOUT:
        return to_json_lines(entries).removesuffix("\n")
    write_catalog(output, entries)
    kinds = Counter(entry.kind.value for entry in entries)
    counts = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    return f"{output} has {len(entries)} entries: {counts}"


def read_documentation(directory: Path) -> list[CatalogEntry]:
    """The entries that a checkout documents, in the order of its files.

    `directory` is the checkout, or its folder of documents. Files without such a title, and those that cannot be read,
    are skipped with a line in the log. Raises `InvalidConfig` where there is no document at all.
    """
    folder = directory / _FOLDER if (directory / _FOLDER).is_dir() else directory
    documents: dict[str, tuple[CatalogKind, str, str]] = {}
    for path in sorted(folder.rglob("*.md")):
        name = path.relative_to(folder).as_posix()
        text = _read(path, name)
        if text is not None:
            try:
                documents[name] = (*_title(text), text)
            except InvalidHandle as error:
                _log.info("%s is skipped: %s", name, error)
    if not documents:
        raise InvalidConfig(
            f"{directory} has no documentation of models: name a checkout of a hub's documentation repository, "
            f"with files such as {_FOLDER}/google/models/spice/2.md"
        )
    handles = {name: handle for name, (_, handle, _) in documents.items()}
    entries = []
    for name, (kind, handle, text) in documents.items():
        members = tuple(_members(text, name, handles)) if kind is CatalogKind.COLLECTION else ()
        entries.append(CatalogEntry(kind, handle, text, members))
    return entries


def _read(path: Path, name: str) -> str | None:
    try:
        if path.is_symlink() or not path.is_file():  # a link could lead out of the checkout
            reason = "it is no ordinary file"
        elif path.stat().st_size > _MAX_DOCUMENT_BYTES:
            reason = f"it has more than {_MAX_DOCUMENT_BYTES} bytes"
        else:
            return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        reason = error.strerror or type(error).__name__
    except ValueError:
        reason = "it is not UTF-8 text"
    _log.warning("%s is skipped: %s", name, reason)
    return None


def _title(text: str) -> tuple[CatalogKind, str]:
    """Kind and handle by the first line, the handle as the catalogue has it. Raises `InvalidHandle`."""
    line = _JOINERS.sub("", text.partition("\n")[0])
    match = _TITLE.fullmatch(line)
    if match is None:
        raise InvalidHandle(f"its first line is no title such as '# Module google/spice/2', but '{quoted(line, 80)}'")
    kind, handle = CatalogKind(match[1]), match[2]
    if kind is CatalogKind.COLLECTION:
        handle = _collection(handle)
    elif kind.model_kind is not None and kind.model_kind.value:
        handle = _with_segment(handle, (kind.model_kind.value,))
    CatalogEntry(kind, handle)  # is it one?
    return kind, handle


def _collection(handle: str) -> str:
    """Titles have a version, `google/bert/1`, which nothing else has a use for: collections have just the one."""
    handle = _with_segment(handle, _COLLECTION_SEGMENTS)
    head, _, version = handle.rpartition("/")
    return head if is_version(version) and head.count("/") > 1 else handle


def _with_segment(handle: str, segments: tuple[str, ...]) -> str:
    """`google/spice/1` → `google/lite-model/spice/1`: titles leave out what their first word says."""
    publisher, _, name = handle.partition("/")
    first, _, rest = name.partition("/")
    return f"{publisher}/{segments[0]}/{rest if first in segments else name}"


def _members(text: str, document: str, handles: Mapping[str, str]) -> Iterator[str]:
    """The models that a collection's document links to, each once. `handles`: those of the documents, by file."""
    seen = set()
    for match in _LINK.finditer(_CODE.sub("", text)):
        member = _member(_JOINERS.sub("", match[1] or match[2]).rstrip(".,;:!*_"), document, handles)
        if member is not None and member not in seen:
            seen.add(member)
            yield member


def _member(target: str, document: str, handles: Mapping[str, str]) -> str | None:
    try:
        url = urlsplit(target)
    except ValueError:
        return None
    path = unquote(url.path)
    if url.netloc:
        member = path.strip("/") if url.netloc.lower() in _HOSTS else ""
    elif path.endswith(".md"):
        file = posixpath.normpath(posixpath.join(posixpath.dirname(document), path))
        member = handles.get(file, "")
    elif path.startswith("/") or _is_handle(path):
        member = path.strip("/")
    else:
        return None
    segments = member.split("/")
    is_model = is_name(segments) and segments[1] not in _COLLECTION_SEGMENTS
    return member if is_model else None


def _is_handle(text: str) -> bool:
    try:
        parse_handle(text)
    except InvalidHandle:
        return False
    return True
