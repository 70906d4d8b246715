"""Models of many small files: one archive, and one call for it."""

import random
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager

import pytest

from hubfs.blobs.http.client import WHOLE_BYTES
from hubfs.errors import Unavailable
from hubfs.hubs.hub import Hub
from hubfs.hubs.kaggle.packed import MANY_FILES, MOST_BYTES, SMALL_FILE_BYTES, comes_packed
from hubfs.model_id import ModelId
from hubfs.sources.source import Form
from tests.support.kaggle import KaggleStandIn
from tests.support.kaggle_replies import instead, refusal, too_many, zipped
from tests.support.kits import Workshop, made_hub
from tests.support.sources import contents

MODEL = ModelId("google/bert/tensorFlow2/many", "1")
MANY = {f"assets/{number:02}.txt": b"%d" % number * 1000 for number in range(MANY_FILES + 1)} | {"empty": b""}
LIST, DOWNLOAD = "ListModelInstanceVersionFiles", "DownloadModelInstanceVersion"


@pytest.mark.parametrize(
    ("sizes_bytes", "packed"),
    [
        ([1000] * MANY_FILES, False),
        ([1000] * (MANY_FILES + 1), True),
        ([SMALL_FILE_BYTES] * (MANY_FILES + 1), True),
        ([SMALL_FILE_BYTES] * MANY_FILES + [SMALL_FILE_BYTES + 1], False),
        ([1000] * 100 + [400 << 30], False),
        ([MOST_BYTES // 1024] * 1024, True),
        ([MOST_BYTES // 1024 + 1] * 1024, False),
        ([0] * 30, True),
        ([], False),
    ],
)
def test_many_small_files_are_read_from_the_archive(sizes_bytes: Sequence[int], *, packed: bool) -> None:
    assert comes_packed(sizes_bytes, None) is packed


def test_the_user_chooses_either_form() -> None:
    assert comes_packed([400 << 30] * 2, Form.COMPRESSED)
    assert not comes_packed([1000], Form.COMPRESSED), "an archive of one file has nothing to save"
    assert not comes_packed([1000] * 1000, Form.UNCOMPRESSED)


@pytest.fixture
def kaggle() -> Iterator[KaggleStandIn]:
    with KaggleStandIn() as kaggle:
        kaggle.put(str(MODEL), MANY)
        yield kaggle


def made(
    kaggle: KaggleStandIn, tools: Workshop, form: Form | None = None, dialect: str = "rpc"
) -> AbstractContextManager[Hub]:
    return made_hub("kaggle:", tools, {"kaggle": kaggle.url}, form, HUBFS_KAGGLE_DIALECT=dialect)


@pytest.mark.parametrize("dialect", ["rpc", "rest"])
def test_a_model_of_many_files_costs_one_download_call(kaggle: KaggleStandIn, tools: Workshop, dialect: str) -> None:
    with made(kaggle, tools, dialect=dialect) as hub:
        source = hub.open(MODEL, tools.kit)
        assert contents(source) == MANY
        assert kaggle.calls == {LIST: 1, DOWNLOAD: 1}
        kaggle.reset_counts()
        kept = tools.kept(source.model)
        assert contents(hub.load(MODEL, kept, tools.kit)) == MANY
        assert not kaggle.calls
        assert not kaggle.stored


def test_an_archive_is_asked_for_again_where_kaggle_is_busy(kaggle: KaggleStandIn, tools: Workshop) -> None:
    kaggle.script(DOWNLOAD, too_many(0))
    with made(kaggle, tools) as hub:
        assert contents(hub.open(MODEL, tools.kit)) == MANY


def test_what_the_cache_has_lost_is_read_from_the_archive_again(kaggle: KaggleStandIn, tools: Workshop) -> None:
    with made(kaggle, tools) as hub:
        source = hub.open(MODEL, tools.kit)
        assert contents(source) == MANY
        kept = tools.kept(source.model)
        tools.cache.drop(source.model)
        assert contents(hub.load(MODEL, kept, tools.kit)) == MANY


def test_few_files_or_large_ones_come_one_by_one(kaggle: KaggleStandIn, tools: Workshop) -> None:
    few = {"config.json": b"{}", "model.weights.h5": bytes(2 << 20)}
    kaggle.put(str(MODEL), few)
    with made(kaggle, tools) as hub, made(kaggle, tools, Form.COMPRESSED) as forced:
        source = hub.open(MODEL, tools.kit)
        assert source.open(source.find("config.json")).read_at(0, 10) == b"{}"
        assert kaggle.body_bytes < 1000, "of the other file nothing was fetched"
        kaggle.reset_counts()
        assert contents(forced.open(MODEL, tools.kit)) == few
        assert kaggle.calls[DOWNLOAD] == 1


def test_files_one_by_one_is_a_choice(kaggle: KaggleStandIn, tools: Workshop) -> None:
    with made(kaggle, tools, Form.UNCOMPRESSED) as hub:
        assert contents(hub.open(MODEL, tools.kit)) == MANY
        assert kaggle.calls[DOWNLOAD] == len(MANY) - 1, "an empty file needs no call"


def test_an_archive_that_is_a_zip_is_left_and_the_files_come_one_by_one(kaggle: KaggleStandIn, tools: Workshop) -> None:
    kaggle.put(str(MODEL), MANY, archive=zipped("assets/00.txt", b"0"))
    with made(kaggle, tools) as hub:
        assert contents(hub.open(MODEL, tools.kit)) == MANY


def test_without_an_archive_the_files_come_one_by_one(kaggle: KaggleStandIn, tools: Workshop) -> None:
    kaggle.script(DOWNLOAD, instead(refusal(404, "Not found")))
    with made(kaggle, tools) as hub:
        assert contents(hub.open(MODEL, tools.kit)) == MANY


def test_an_archive_is_renewed_when_its_url_expires(kaggle: KaggleStandIn, tools: Workshop) -> None:
    larger = MANY | {"noise": random.Random(1).randbytes(2 * WHOLE_BYTES)}  # than what comes with the first reply
    kaggle.put(str(MODEL), larger)
    with made(kaggle, tools) as hub:
        source = hub.open(MODEL, tools.kit)
        kaggle.store.forget_urls()
        assert contents(source) == larger
        assert kaggle.calls[DOWNLOAD] == 2


def test_an_archive_that_goes_away_is_not_taken_for_a_missing_file(kaggle: KaggleStandIn, tools: Workshop) -> None:
    with made(kaggle, tools) as hub, made(kaggle, tools) as later:
        source = hub.open(MODEL, tools.kit)
        assert contents(source) == MANY
        kept = tools.kept(source.model)
        tools.cache.drop(source.model)
        kaggle.script(DOWNLOAD, *[instead(refusal(404, "Not found"))] * 9)
        lost = later.load(MODEL, kept, tools.kit)
        with pytest.raises(Unavailable, match="does no longer"):
            contents(lost)
