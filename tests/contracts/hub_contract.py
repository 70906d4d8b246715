"""What every Hub promises, with a Kit. An implementation passes by subclassing `HubContract` with `serving`."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest

from hubfs.errors import Damaged, EntryNotFound, InvalidHandle, ModelNotFound
from hubfs.hubs.hub import Hub
from hubfs.hubs.place import Alias, Ambiguous, Folder, InModel, Place
from hubfs.model_id import ModelId
from hubfs.sources.source import ROOT, EntryKind
from tests.support.kits import Workshop, workshop
from tests.support.known import known
from tests.support.sources import contents

FILES = {"saved_model.pb": b"graph" * 1000, "variables/variables.index": b"index", "assets/empty": b""}
NEWER = {"saved_model.pb": b"newer" * 1001}


@dataclass(frozen=True)
class Served:
    """A hub that serves two versions of a model, and how often its hosts were asked so far."""

    hub: Hub
    requests: "Requests"


class Requests:
    """Counts what hosts were asked; a hub without hosts is asked nothing."""

    def count(self) -> int:
        return 0


class HubContract:
    old = ModelId("google/spice", "1")
    new = ModelId("google/spice", "2")
    missing = ModelId("google/nothing", "1")
    alias_path = "/google/spice/latest"
    """Where the symlink to the newest version is."""

    @property
    def alias(self) -> Place:
        """What that symlink is."""
        return Alias(self.new.name)

    @property
    def folder_path(self) -> str:
        """A directory that is not in a model, and leads to one."""
        return f"/{self.new.name}"

    def serving(
        self, tmp_path: Path, models: Mapping[ModelId, Mapping[str, bytes]], tools: Workshop
    ) -> AbstractContextManager[Served]:
        """A hub of these models, behind the real thing; closed afterwards."""
        raise NotImplementedError

    @pytest.fixture
    def tools(self, tmp_path: Path) -> Iterator[Workshop]:
        with workshop(tmp_path / "cache") as tools:
            yield tools

    @pytest.fixture
    def served(self, tmp_path: Path, tools: Workshop) -> Iterator[Served]:
        with self.serving(tmp_path, {self.old: FILES, self.new: NEWER}, tools) as served:
            yield served

    @pytest.fixture
    def hub(self, served: Served) -> Hub:
        return served.hub

    def test_says_which_it_is_without_asking(self, served: Served) -> None:
        hub = served.hub
        assert ":" in hub.url
        assert "@" not in hub.url
        assert hub.label
        assert not {"/", "@"} & {*hub.label}, "it is one segment of a path in the cache"
        assert ":" in hub.host
        assert {type(hub.vouched), type(hub.lists)} == {bool}
        assert served.requests.count() == 0

    def test_reads_the_names_that_it_gives(self, hub: Hub) -> None:
        assert hub.names.parse(str(self.new)) == self.new
        assert hub.names.find(str(self.new)) == (self.new.name, self.new.version)
        assert hub.names.find("https://elsewhere.example/google/spice/2") is None
        for text in ("", "/", "no model", "a//b", "\0"):
            with pytest.raises(InvalidHandle):
                hub.names.parse(text)

    def test_knows_what_a_path_is_without_asking(self, served: Served) -> None:
        hub = served.hub
        assert hub.names.place("/") == Folder(())
        assert isinstance(hub.names.place(self.folder_path), Folder)
        root = hub.names.path(self.new.name, self.new.version)
        assert hub.names.place(f"/{root}") == InModel(self.new, "")
        assert hub.names.place(f"/{root}/variables/1") == InModel(self.new, "variables/1")
        assert hub.names.place(self.alias_path) == self.alias
        for path in ("/.git", "/.Trash-0/x", "/a b/c d/1", f"/{'x' * 300}/{'y' * 300}/{'z' * 300}"):
            try:
                place = hub.names.place(path)
            except EntryNotFound:
                continue
            assert isinstance(place, Folder | InModel | Ambiguous), "a path is a place or does not exist"
        assert served.requests.count() == 0

    def test_an_alias_leads_to_the_newest_version(self, hub: Hub) -> None:
        assert hub.alias(self.new.name) == self.new.version
        assert max([self.new.version, self.old.version], key=hub.names.age) == self.new.version
        assert set(hub.versions(self.new.name)) <= {self.old.version, self.new.version}
        with pytest.raises(ModelNotFound):
            hub.alias(self.missing.name)

    def test_lists_what_leads_to_its_models_or_nothing(self, hub: Hub) -> None:
        first, *_ = self.new.name.split("/")
        assert hub.children("") == ([first] if hub.lists else ())
        assert [*hub.versions(self.missing.name)] == []

    def test_opens_a_model(self, hub: Hub, tools: Workshop) -> None:
        source = hub.open(self.old, tools.kit)
        assert contents(source) == FILES
        assert source.handle == self.old
        assert source.model.startswith(f"{hub.label}/{self.old}@")
        assert source.find("") == ROOT
        assert source.find("variables").kind is EntryKind.DIRECTORY
        assert contents(hub.open(self.new, tools.kit)) == NEWER

    def test_a_model_that_is_not_there_is_told_from_one_that_cannot_be_had(self, hub: Hub, tools: Workshop) -> None:
        with pytest.raises(ModelNotFound, match=str(self.missing)):
            hub.open(self.missing, tools.kit)

    def test_what_the_cache_keeps_is_read_again_without_asking(self, served: Served, tools: Workshop) -> None:
        source = served.hub.open(self.old, tools.kit)
        assert contents(source) == FILES
        kept = tools.kept(source.model)
        assert tools.indexes.load(f"{served.hub.label}/{self.old}") == kept
        asked = served.requests.count()
        again = served.hub.load(self.old, kept, tools.kit)
        assert contents(again) == FILES
        assert (again.model, again.form, again.url) == (source.model, source.form, source.url)
        assert {again.stamp(path) for path in FILES} == {source.stamp(path) for path in FILES}
        assert served.requests.count() == asked

    def test_what_the_cache_lost_is_fetched_again(self, hub: Hub, tools: Workshop) -> None:
        source = hub.open(self.old, tools.kit)
        assert contents(source) == FILES
        kept = tools.kept(source.model)
        tools.cache.drop(source.model)
        assert contents(hub.load(self.old, kept, tools.kit)) == FILES

    @pytest.mark.parametrize(
        "change", [{"entries": 5}, {"url": 7}, {"form": "zip"}, {"identity": None}, {"handle": "x"}]
    )
    def test_an_index_that_is_not_as_written_is_refused(
        self, hub: Hub, tools: Workshop, change: Mapping[str, object]
    ) -> None:
        source = hub.open(self.old, tools.kit)
        contents(source)
        kept = tools.kept(source.model)
        with pytest.raises((Damaged, KeyError, ValueError)):
            hub.load(self.old, {**kept, **change}, tools.kit)

    def test_no_client_library_keeps_it_here(self, hub: Hub) -> None:
        assert hub.local(self.new) is None

    def test_the_doctor_is_told(self, hub: Hub) -> None:
        checks = [*hub.checks()]
        assert checks
        for check in checks:
            assert "@" not in check.url
            assert check.subject
            assert check.advice
            assert check.ask()

    def test_views_know_no_names_but_theirs(self, hub: Hub) -> None:
        for view in hub.names.views(known(handles=lambda: [str(self.new)]), "../..").values():
            for path in (".git", "0" * 40, "x.lock", "no/where"):
                assert (view.target(path), view.content(path), view.is_folder(path)) == (None, None, False)
