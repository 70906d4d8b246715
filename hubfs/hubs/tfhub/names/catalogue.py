"""The catalogue: which handles exist, as somebody wrote down; and what it knows about each."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum

from hubfs.errors import InvalidHandle, quoted
from hubfs.hubs.names_by_folder import NamesByFolder
from hubfs.hubs.tfhub.names.handle import (
    COLLECTION,
    Kind,
    is_name,
    is_name_segment,
    is_publisher,
    is_version,
    kind_of,
    parse_handle,
    version_age,
)
from hubfs.model_id import ModelId

_KAGGLE_SEGMENTS = 5
_SHORTEST_COLLECTION = 3  # publisher, `collection` and one name segment


class CatalogKind(Enum):
    """What an entry of the catalogue is; the value is the word for it in files and documentation."""

    MODULE = "Module"
    LITE = "Lite"
    TFJS = "Tfjs"
    CORAL = "Coral"
    PLACEHOLDER = "Placeholder"  # a page for people about models of other kinds; there is nothing to load
    COLLECTION = "Collection"
    PUBLISHER = "Publisher"

    @property
    def model_kind(self) -> Kind | None:
        """The kind of handle that a model of this kind has; None for what is no model."""
        return _MODEL_KINDS.get(self)


_MODEL_KINDS = {
    CatalogKind.MODULE: Kind.MODEL,
    CatalogKind.LITE: Kind.LITE,
    CatalogKind.TFJS: Kind.TFJS,
    CatalogKind.CORAL: Kind.CORAL,
}


@dataclass(frozen=True, slots=True)
class KaggleName:
    """What Kaggle calls a model: `name` is `OWNER/MODEL/FRAMEWORK/VARIATION/VERSION`.

    `seen`: a redirect of the hub led there. Else the name is deduced: the model has the same variation, and its version
    the same rank among the versions. Raises `InvalidHandle` for a name that Kaggle cannot have.
    """

    name: str
    seen: bool = True

    def __post_init__(self) -> None:
        segments = self.name.split("/")
        if len(segments) != _KAGGLE_SEGMENTS or not all(map(is_name_segment, segments)) or not is_version(segments[-1]):
            raise InvalidHandle(
                f"'{quoted(self.name)}' is no name at Kaggle: it must read OWNER/MODEL/FRAMEWORK/VARIATION/VERSION"
            )


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """One line of a catalogue.

    `handle` is versioned (`google/spice/2`) for models and placeholders, `google/collection/bert` for a collection,
    `google` for a publisher. `documentation` is Markdown. `members` of a collection are handles, versioned or not.
    `format` is the one of the model's files (`saved_model_2` is TF 2; `saved_model` and `hub` are TF 1), `task` what
    the model is for (`image-classification`).
    Raises `InvalidHandle` for a handle or a member that no hub can have, or that is not of this kind, and for a format
    or a task that is no word.
    """

    kind: CatalogKind
    handle: str
    documentation: str | None = None
    members: tuple[str, ...] = ()
    format: str | None = None
    task: str | None = None
    kaggle: KaggleName | None = None

    def __post_init__(self) -> None:
        for word in (self.format, self.task):
            if word is not None and not is_name_segment(word):
                raise InvalidHandle(
                    f"'{quoted(word)}' is no word for a format or a task: letters, digits, '_', '.', '-'"
                )
        if self.kind is CatalogKind.PUBLISHER:
            if not is_publisher(self.handle):
                raise InvalidHandle(
                    f"'{quoted(self.handle)}' cannot be a publisher: lower-case letters, digits and '-'"
                )
        elif self.kind is CatalogKind.COLLECTION:
            segments = self.handle.split("/")
            if len(segments) < _SHORTEST_COLLECTION or segments[1] != COLLECTION or not is_name(segments):
                raise InvalidHandle(
                    f"'{quoted(self.handle)}' is no collection: it must read PUBLISHER/{COLLECTION}/NAME"
                )
        else:
            self._check_model()
        for member in self.members:
            if not is_name(member.split("/")):
                raise InvalidHandle(f"'{quoted(member)}' cannot be a model, and so no member of a collection")

    def _check_model(self) -> None:
        handle = parse_handle(self.handle)
        wanted = self.kind.model_kind or Kind.MODEL
        if kind_of(handle.name) is not wanted:
            form = f"PUBLISHER/{wanted.value}/NAME/VERSION" if wanted.value else "PUBLISHER/NAME/VERSION"
            raise InvalidHandle(f"'{quoted(self.handle)}' is not of kind {self.kind.value}: it must read {form}")
        _, first, *others = handle.name.split("/")
        if first == COLLECTION or (self.kind is CatalogKind.MODULE and any(map(is_version, others))):
            raise InvalidHandle(f"'{quoted(self.handle)}' cannot be a model: its path would end earlier")


class Catalog:
    """What is known of a hub's handles. Immutable; every question is answered from an index.

    Of entries with the same handle the first counts, and the others fill in what it does not say.
    `snapshot`: it was made once, of a hub that went on. The hub may have models, and versions of models, that a
    snapshot does not list.
    """

    def __init__(self, entries: Iterable[CatalogEntry] = (), *, snapshot: bool = False) -> None:
        self._snapshot = snapshot
        self._entries: dict[str, CatalogEntry] = {}
        for entry in entries:
            known = self._entries.setdefault(entry.handle, entry)
            if known is not entry:
                self._entries[entry.handle] = _filled(known, entry)
        self._names = NamesByFolder()
        for entry in self._entries.values():
            if entry.kind.model_kind is not None:
                name, _, version = entry.handle.rpartition("/")
                self._names.add(ModelId(name, version))
            elif entry.kind is not CatalogKind.PLACEHOLDER:
                self._names.add_path(entry.handle)

    @property
    def entries(self) -> tuple[CatalogEntry, ...]:
        """All entries, one a handle, in the order they came in."""
        return tuple(self._entries.values())

    def children(self, folder: tuple[str, ...]) -> list[str]:
        """The names directly below `folder` (path segments): publishers, names, versions, collections; sorted.

        Of placeholders there is no path. A publisher is shown though none of its models is known.
        """
        return sorted(self._names.children("/".join(folder)))

    def is_model(self, handle: str) -> bool | None:
        """Whether `handle` is a model; None if the catalogue does not know.

        False for a placeholder, a collection, and whatever lies above a model: no model is below another.
        """
        entry = self._entries.get(handle)
        if entry is not None:
            return entry.kind.model_kind is not None
        if self._names.children(handle) or handle.split("/")[1:2] == [COLLECTION]:
            return False
        return None

    def versions(self, name: str) -> list[str]:
        """The versions of the model `name` (`google/spice`), oldest first."""
        return sorted(self._names.versions(name), key=version_age)

    def collection(self, path: str) -> tuple[str, ...] | None:
        """The members of the collection `path` (`google/collection/bert`), versioned; None if there is none.

        A member without a version gets its newest known one. Handles that are known to be no model, and names of
        which no version is known, are left out.
        """
        entry = self._entries.get(path)
        if entry is None or entry.kind is not CatalogKind.COLLECTION:
            return None
        return tuple(dict.fromkeys(filter(None, map(self._versioned, entry.members))))

    def documentation(self, name: str) -> bytes | None:
        """The documentation (Markdown, UTF-8) of the newest version of the model `name` that has one."""
        for version in reversed(self.versions(name)):
            text = self._entries[f"{name}/{version}"].documentation
            if text is not None:
                return text.encode(errors="replace")
        return None

    def entry(self, handle: str) -> CatalogEntry | None:
        """What is known of `handle` (`google/spice/2`); None for nothing."""
        return self._entries.get(handle)

    @property
    def lists_all(self) -> bool:
        """Whether a directory of numbers that is not in it leads to no model.

        Of an empty catalogue, and of a snapshot, that cannot be said.
        """
        return bool(self._entries) and not self._snapshot

    def handles(self) -> list[str]:
        """The handles of all models: by name, oldest version first."""
        return [f"{name}/{version}" for name in self._names.named() for version in self.versions(name)]

    def merged(self, other: "Catalog") -> "Catalog":
        """Both; where they differ, this one counts. Of an empty one nothing is made anew: they are large."""
        if not (self.entries and other.entries):
            return self if self.entries else other
        return Catalog((*self.entries, *other.entries))

    def _versioned(self, member: str) -> str | None:
        versions = self.versions(member)
        if versions:
            return f"{member}/{versions[-1]}"
        if self.is_model(member) is not None:
            return member if self.is_model(member) else None
        try:
            return str(parse_handle(member))  # perhaps a model that the catalogue does not have
        except InvalidHandle:
            return None


def _filled(known: CatalogEntry, other: CatalogEntry) -> CatalogEntry:
    documentation = other.documentation if known.documentation is None else known.documentation
    return replace(
        known,
        documentation=documentation,
        members=known.members or other.members,
        format=known.format or other.format,
        task=known.task or other.task,
        kaggle=known.kaggle or other.kaggle,
    )
