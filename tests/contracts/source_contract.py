"""What every Source promises. An implementation passes by subclassing `SourceContract` with `source_of`."""

import json
import random
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager

import pytest

from hubfs.errors import EntryNotFound, IsADirectory
from hubfs.hubs.tfhub.names.handle import parse_handle
from hubfs.sources.source import ROOT, Entry, EntryKind, Extent, Form, Source

HANDLE = parse_handle("google/spice/2")
_NOISE = random.Random(21)
FILES = {
    "assets/vocab ü #1 50%?.txt": b"words",
    "assets/deep/er/empty": b"",
    "assets.extra/x": b"x",
    "saved_model.pb": _NOISE.randbytes(5_000),
    "variables/variables.data-00000-of-00001": _NOISE.randbytes((2 << 20) + 999),
    "variables/variables.index": _NOISE.randbytes(300),
}
DIRECTORIES = ["assets", "assets.extra", "assets/deep", "assets/deep/er", "variables"]
ENTRIES = sorted(
    [Entry(path, EntryKind.FILE, len(data)) for path, data in FILES.items()]
    + [Entry(path, EntryKind.DIRECTORY) for path in DIRECTORIES],
    key=lambda entry: entry.path,
)


class SourceContract:
    form: Form

    def source_of(self, files: Mapping[str, bytes]) -> AbstractContextManager[Source]:
        """The source of HANDLE with these files, behind the real thing; closed afterwards."""
        raise NotImplementedError

    @pytest.fixture
    def source(self) -> Iterator[Source]:
        with self.source_of(FILES) as source:
            yield source

    def test_says_what_it_is(self, source: Source) -> None:
        assert source.handle == HANDLE
        assert source.form is self.form
        assert source.url.partition("://")[0] in ("http", "https", "gs", "file")
        assert "?" not in source.url
        assert source.identity
        assert source.model.partition("@")[0].endswith(f"/{HANDLE}")
        assert source.failure is None

    def test_lists_all_entries_sorted(self, source: Source) -> None:
        assert [*source.entries()] == ENTRIES
        assert [*source.entries()] == ENTRIES
        assert source.complete
        sizes_bytes = [entry.size_bytes for entry in ENTRIES if entry.kind is EntryKind.FILE]
        assert source.extent == Extent(len(sizes_bytes), sum(sizes_bytes))

    def test_finds_what_it_lists(self, source: Source) -> None:
        assert [source.find(entry.path) for entry in ENTRIES] == ENTRIES

    def test_has_dates_for_what_it_lists(self, source: Source) -> None:
        dates = {source.stamp(entry.path) for entry in ENTRIES if entry.kind is EntryKind.FILE}
        newest = {source.stamp(path) for path in ("", *DIRECTORIES)}
        assert len(newest) == 1
        assert newest <= dates

    def test_finds_the_root(self, source: Source) -> None:
        assert source.find("") == ROOT

    @pytest.mark.parametrize(
        "path",
        [
            "nothing",
            "variables/nothing",
            "saved_model.pb/below",
            "/",
            "variables/",
            "/variables",
            "./variables",
            "variables/../variables",
            "assets/deep/er/empty/",
            "ASSETS",
            "a\0b",
            "\udcff",
        ],
    )
    def test_finds_nothing_else(self, source: Source, path: str) -> None:
        with pytest.raises(EntryNotFound):
            source.find(path)

    @pytest.mark.parametrize("path", FILES)
    def test_opens_files(self, source: Source, path: str) -> None:
        blob = source.open(source.find(path))
        assert blob.size_bytes == len(FILES[path])
        assert blob.read_at(0, blob.size_bytes + 1) == FILES[path]
        assert blob.key == source.open(source.find(path)).key

    def test_files_have_keys_of_their_own(self, source: Source) -> None:
        assert len({source.open(source.find(path)).key for path in FILES}) == len(FILES)

    def test_opens_nothing_else(self, source: Source) -> None:
        for entry in (ROOT, source.find("variables")):
            with pytest.raises(IsADirectory):
                source.open(entry)
        with pytest.raises(EntryNotFound):
            source.open(Entry("nothing", EntryKind.FILE, 3))

    def test_believes_itself_about_sizes(self, source: Source) -> None:
        blob = source.open(Entry("assets.extra/x", EntryKind.FILE, 1 << 30))
        assert blob.size_bytes == 1
        assert blob.read_at(0, 100) == b"x"

    def test_many_may_ask_at_once(self, source: Source) -> None:
        def ask(path: str) -> bytes:
            assert len(source.entries()) == len(ENTRIES)
            blob = source.open(source.find(path))
            return blob.read_at(0, blob.size_bytes)

        with ThreadPoolExecutor(8) as pool:
            assert [*pool.map(ask, 3 * [*FILES])] == 3 * [*FILES.values()]

    def test_other_bytes_have_another_identity(self, source: Source) -> None:
        identity, model = source.identity, source.model
        with self.source_of(FILES | {"saved_model.pb": b"other"}) as other:
            assert other.identity != identity
            assert other.model != model

    def test_its_index_survives_json(self, source: Source) -> None:
        source.entries()
        index = source.to_index()  # type: ignore[attr-defined]  # not of the protocol, but of every source
        assert json.loads(json.dumps(index)) == index
        assert {"handle": str(HANDLE), "form": self.form.value}.items() <= index.items()
