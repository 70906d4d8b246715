"""Which models are seen to be cut, and which are not taken for cut."""

import pytest

from hubfs.blobs.blob import MemoryBlob
from hubfs.errors import Damaged
from hubfs.hubs.tfhub.extracted.saved_model import check_saved_model
from tests.support.models import MAKERS
from tests.support.saved_models import SHARD, TABLE_FOOTER, delimited, saved_model_pb, whole_model


def check(files: dict[str, bytes]) -> None:
    check_saved_model({path: MemoryBlob(path, data) for path, data in files.items()})


@pytest.mark.parametrize("shards", [1, 3])
def test_a_whole_model_is_whole(shards: int) -> None:
    check(whole_model(shards=shards))
    check(whole_model(shards=shards) | {"fingerprint.pb": b"", "assets.extra/anything": b"x"})


def test_a_model_that_saves_nothing_needs_no_variables() -> None:
    check({"saved_model.pb": saved_model_pb(variables=False)})


def test_variables_that_are_there_must_be_complete_all_the_same() -> None:
    files = whole_model() | {"saved_model.pb": saved_model_pb(variables=False)}
    del files["variables/variables.index"]
    with pytest.raises(Damaged, match=r"variables\.index is missing"):
        check(files)


def test_a_module_in_the_older_format_is_whole() -> None:
    check(whole_model() | {"tfhub_module.pb": b"\x08\x03"})


@pytest.mark.parametrize("path", whole_model(shards=3, assets=("vocab.txt", "deep/words.txt")))
def test_every_file_that_is_needed_is_missed(path: str) -> None:
    files = whole_model(shards=3, assets=("vocab.txt", "deep/words.txt"))
    del files[path]
    with pytest.raises(Damaged, match=path):
        check(files)


def test_an_archive_that_was_cut_after_its_graph_is_noticed() -> None:
    with pytest.raises(Damaged, match=r"variables\.index is missing"):
        check({"saved_model.pb": saved_model_pb()})


def test_a_module_without_its_graph_is_not_whole() -> None:
    with pytest.raises(Damaged, match=r"saved_model\.pb is missing"):
        check({"tfhub_module.pb": b"\x08\x03"})


def test_all_shards_missing_is_noticed() -> None:
    files = whole_model()
    del files[SHARD.format(0, 1)]
    with pytest.raises(Damaged, match=r"variables\.data"):
        check(files)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"saved_model.pb": b""}, "empty"),
        ({"saved_model.pb": saved_model_pb()[:-1]}, "too early"),
        ({"saved_model.pb": b"\x08\x01"}, "no graph"),
        ({"saved_model.pb": b"<html>"}, "protocol buffer"),
        ({"saved_model.pb": delimited(2, b"\x0a\xff")}, "middle of a number"),
        ({"tfhub_module.pb": b""}, "tfhub_module.pb is empty"),
        ({"tfhub_module.pb": b"\x0a\x09short"}, "tfhub_module.pb: .* too early"),
        ({"variables/variables.index": b""}, "does not end"),
        ({"variables/variables.index": TABLE_FOOTER[:-1]}, "does not end"),
        ({"variables/variables.index": TABLE_FOOTER[-8:]}, "does not end"),
        ({"variables/variables.index": TABLE_FOOTER + b"more"}, "does not end"),
        ({SHARD.format(0, 1): b""}, "is empty"),
        ({SHARD.format(0, 2): b"x"}, "several savings"),
    ],
)
def test_damage_that_shows_is_noticed(changed: dict[str, bytes], reason: str) -> None:
    with pytest.raises(Damaged, match=reason):
        check(whole_model() | changed)


@pytest.mark.tensorflow
@pytest.mark.parametrize("handle", MAKERS)
def test_real_models_are_whole_and_every_cut_of_their_files_is_noticed(handle: str) -> None:
    model = MAKERS[handle]()
    files = {str(path.relative_to(model)): path.read_bytes() for path in model.rglob("*") if path.is_file()}
    check(files)
    for path in files.keys() - {"fingerprint.pb"}:
        with pytest.raises(Damaged):
            check({other: data for other, data in files.items() if other != path})
