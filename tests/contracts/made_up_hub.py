"""A hub that is made up: a folder of this machine, `zoo:/some/folder`, whose models are ANIMAL/AGE (`ape/aab`)."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from hubfs.blobs.file import FileBlob
from hubfs.blobs.stamp import Stamp
from hubfs.errors import EntryNotFound, InvalidHandle, ModelNotFound
from hubfs.hubs.hub import Check, Hub, Means
from hubfs.hubs.names import Names
from hubfs.hubs.place import Alias, Folder, InModel, Place, Shown
from hubfs.model_id import ModelId
from hubfs.sources.files import Manifest, RemoteFile
from hubfs.sources.kit import Kit
from hubfs.sources.source import Form, Source


def make(url: str, _: Means) -> Hub:
    return Zoo(url)


class Zoo(Hub, Names):
    lists = True

    def __init__(self, url: str) -> None:
        self.url, self.host, self.label, self.names = url, url, quote(url, safe=":"), self
        self.root = Path(url.removeprefix("zoo:"))

    def parse(self, text: str) -> ModelId:
        animal, _, age = text.partition("/")
        if not (animal and age) or age.strip("ab"):
            raise InvalidHandle(f"{text!r} is no ANIMAL/AGE")
        return ModelId(animal, age)

    def place(self, path: str) -> Place:
        animal, age, inner = [*path.strip("/").split("/", 2), "", ""][:3]
        if not age or age == "oldest":
            return Alias(animal) if age else Folder(tuple(filter(None, [animal])))
        try:
            return InModel(self.parse(f"{animal}/{age}"), inner)
        except InvalidHandle as error:
            raise EntryNotFound(str(error)) from None

    def shown(self, folder: tuple[str, ...], known: object) -> Shown:
        return Shown(self.children("/".join(folder)), ["oldest"] if folder else [])

    def age(self, version: str) -> int:
        return len(version)

    def open(self, model: ModelId, kit: Kit) -> Source:
        folder = self.root / str(model)
        files = {path.relative_to(folder).as_posix(): _file(path) for path in folder.rglob("*") if path.is_file()}
        if not files:
            raise ModelNotFound(f"there is no {model} in {self.root}")
        return kit.files(self.label, model, Manifest(f"file://{folder}", Form.FILES, files))

    def load(self, model: ModelId, kept: Mapping[str, Any], kit: Kit) -> Source:
        def opener(path: str, pin: str, size_bytes: int) -> Callable[[], FileBlob]:
            return lambda: FileBlob(self.root / str(model) / path, size_bytes, int(pin.rpartition("-")[2]))

        return kit.kept_files(self.label, model, Manifest.from_json(model, kept, opener))

    def alias(self, name: str) -> str:
        if not self.children(name):
            raise ModelNotFound(f"there is no {name} in {self.root}")
        return max(self.children(name), key=len)

    def children(self, folder: str) -> Sequence[str]:
        return sorted(path.name for path in (self.root / folder).glob("*"))

    def checks(self) -> list[Check]:
        return [Check("zoo", self.url, lambda: f"{len(self.children(''))} animals", "open the gate")]


def _file(path: Path) -> RemoteFile:
    blob = FileBlob(path, path.stat().st_size, path.stat().st_mtime_ns)
    return RemoteFile(blob.size_bytes, blob.key, lambda: blob, stamp=Stamp(blob.mtime_ns // 10**9))
