"""The small files that loaders open before the weights: pure policy."""

from collections.abc import Sequence

from hubfs.sources.prefetch.plan import Plan, Stage, Want, Wants, files_in, folder_of, name_of
from hubfs.sources.source import Entry

SMALL_BYTES = 1 << 20
"""A larger file is fetched when it is opened: it may be one that nobody wants."""

MOST_FILES = 64
"""More are fetched when they are opened; so all of them have 64 MiB at most. A model has about ten."""

_ALONE = ("config.json", "tokenizer_config.json", "adapter_config.json", "preprocessor_config.json")
_WITH_FOLDERS = ("modules.json", "model_index.json")
"""What sentence-transformers and diffusers open first: the parts of such a model lie in folders of their own."""

_ENDINGS = (".json", ".jinja", ".py", ".txt", ".model")
"""Of configurations, tokenizers and their vocabularies, templates and code."""

_OTHER_FORMATS = ("onnx", "openvino", "original")
"""Folders with the same model in another format."""


class SmallFiles(Plan):
    """A configuration was opened: a loader opens about ten files more, one after the other, before the weights.

    Opening it promises no weights: AutoConfig and AutoTokenizer open it, too, and stop there.
    """

    @classmethod
    def begins(cls, path: str, *, read: bool) -> bool:
        """At its opening."""
        return not read and name_of(path) in (*_ALONE, *_WITH_FOLDERS)

    def covers(self, path: str) -> bool:
        """What would begin the same plan."""
        return (folder_of(path) == folder_of(self.begun_by) and name_of(path) in _ALONE) or path == self.begun_by

    def _learn(self, entries: Sequence[Entry]) -> None:
        folder, name = folder_of(self.begun_by), name_of(self.begun_by)
        files = files_in(entries, folder)
        found = sorted(
            (path for path, size_bytes in files.items() if 0 < size_bytes < SMALL_BYTES and self._is_wanted(path)),
            key=lambda path: (path != name, path.count("/"), path),
        )
        self.wants = Wants(Want(folder + path, 0, files[path], Stage.CERTAIN) for path in found[:MOST_FILES])

    def _is_wanted(self, path: str) -> bool:
        folder, name = folder_of(path), name_of(path)
        if folder and (name_of(self.begun_by) not in _WITH_FOLDERS or folder.count("/") > 1):
            return False
        if folder.rstrip("/") in _OTHER_FORMATS:
            return False
        return name.endswith(_ENDINGS) and (".index." not in name or name.endswith(".safetensors.index.json"))
