import random
from collections.abc import Iterable, Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hubfs.cache.block_cache import BLOCK_SIZE_BYTES as BLOCK
from hubfs.sources.prefetch.plan import SPECULATION_BYTES, TAIL_BYTES, Plan, Stage, Want
from hubfs.sources.prefetch.saved_model import SavedModel, Sign, sign_of
from hubfs.sources.prefetch.tfjs import Tfjs
from hubfs.sources.source import Entry, EntryKind

DATA = "variables/variables.data-00000-of-00001"


def entries_of(**sizes_bytes: int) -> list[Entry]:
    return [Entry(path, EntryKind.FILE, size_bytes) for path, size_bytes in sizes_bytes.items()]


def planned(entries: Sequence[Entry], opened: str) -> Plan:
    """What the reader wants that opened the file."""
    (kind,) = [kind for kind in (SavedModel, Tfjs) if kind.begins(opened, read=False)]
    plan = kind(opened)
    plan.learn(entries)
    return plan


def plan(entries: Sequence[Entry], opened: str) -> tuple[Want, ...]:
    return planned(entries, opened).wants.left


def saved_model(data_bytes: int, **others: int) -> list[Entry]:
    files = {"saved_model.pb": 1_300_000, "variables/variables.index": 20_090, DATA: data_bytes, **others}
    return [
        Entry("assets", EntryKind.DIRECTORY),
        Entry("variables", EntryKind.DIRECTORY),
        *entries_of(**files),
    ]


def total_bytes(wants: Iterable[Want], stage: Stage) -> int:
    return sum(want.size_bytes for want in wants if want.stage is stage)


def test_the_index_comes_first_then_the_tail_then_the_tensors_then_what_is_optional() -> None:
    entries = saved_model(5 * BLOCK + 7, **{"fingerprint.pb": 98, "assets/vocab.txt": 10, "assets/deep/er": 11})
    random.Random(7).shuffle(entries)
    assert plan(entries, "saved_model.pb") == tuple(
        Want(path, offset_bytes, size_bytes, Stage.CERTAIN)
        for path, offset_bytes, size_bytes in (
            ("saved_model.pb", 0, 1_300_000),
            ("variables/variables.index", 0, 20_090),
            (DATA, 4 * BLOCK, BLOCK + 7),
            (DATA, 0, 4 * BLOCK),
            ("assets/deep/er", 0, 11),
            ("assets/vocab.txt", 0, 10),
            ("fingerprint.pb", 0, 98),
        )
    )


def test_assets_come_in_the_order_of_their_places() -> None:
    places = {"assets/b": 3, "assets/c": 7, "fingerprint.pb": 9, "assets/a": 12}
    assets = [Entry(path, EntryKind.FILE, 5, place=place) for path, place in places.items()]
    random.Random(7).shuffle(assets)
    wants = plan([*saved_model(BLOCK), *assets], "saved_model.pb")
    assert [want.path for want in wants[-4:]] == [*places]


def test_shards_are_read_in_order_after_the_tails_of_all() -> None:
    shards = [f"variables/variables.data-{number:05}-of-00003" for number in range(3)]
    sizes_bytes = dict.fromkeys(reversed(shards), 3 * BLOCK)
    wants = plan(entries_of(**{"saved_model.pb": 9, **sizes_bytes}), "saved_model.pb")
    assert [(want.path, want.offset_bytes) for want in wants[1:]] == [
        *((path, 2 * BLOCK) for path in shards),
        *((path, 0) for path in shards),
    ]


def test_no_more_than_the_speculation_is_certain_and_the_rest_goes_on_where_it_ended() -> None:
    wants = plan(saved_model(438 * BLOCK + 5, **{"fingerprint.pb": 98}), "saved_model.pb")
    assert SPECULATION_BYTES - BLOCK < total_bytes(wants, Stage.CERTAIN) <= SPECULATION_BYTES
    *_, last_certain, rest, optional = wants
    assert (last_certain.stage, rest.stage) == (Stage.CERTAIN, Stage.FOLLOWED)
    assert (rest.path, rest.offset_bytes) == (DATA, last_certain.end_bytes)
    assert rest.end_bytes == 437 * BLOCK  # the tail came before
    assert optional == Want("fingerprint.pb", 0, 98, Stage.FOLLOWED)


def test_the_speculation_bounds_even_the_tails_of_very_many_shards() -> None:
    shards = {f"variables/variables.data-{number:05}-of-00200": 9 * BLOCK for number in range(200)}
    wants = plan(entries_of(**{"saved_model.pb": 5, **shards}), "saved_model.pb")
    assert total_bytes(wants, Stage.CERTAIN) <= SPECULATION_BYTES
    assert sum(want.size_bytes for want in wants) == 5 + sum(shards.values())


def test_a_model_in_a_folder_of_another_is_planned_by_its_own_files() -> None:
    entries = [Entry(f"inner/{one.path}", one.kind, one.size_bytes) for one in saved_model(9)] + saved_model(7)
    assert {want.path for want in plan(entries, "inner/saved_model.pb")} == {
        "inner/saved_model.pb",
        "inner/variables/variables.index",
        f"inner/{DATA}",
    }


def test_files_that_no_loader_reads_are_not_wanted() -> None:
    others = {
        "README.md": 1,
        "assets.extra/warmup": 2,
        "variables/notes.txt": 3,
        "other/saved_model.pb": 4,
        "model.h5": 5,
    }
    wanted = {want.path for want in plan(saved_model(7, **others), "saved_model.pb")}
    assert wanted == {"saved_model.pb", "variables/variables.index", DATA}


def test_the_shards_of_a_tfjs_model_are_wanted_in_the_order_of_their_numbers() -> None:
    shards = [f"group1-shard{number}of11.bin" for number in range(1, 12)]
    entries = entries_of(**{"model.json": 70, **dict.fromkeys(sorted(shards), 4 << 20), "README.md": 4})
    assert [want.path for want in plan(entries, "model.json")] == ["model.json", *shards]


def test_an_empty_file_is_not_wanted() -> None:
    assert {want.path for want in plan(saved_model(0, **{"assets/empty": 0}), "saved_model.pb")} == {
        "saved_model.pb",
        "variables/variables.index",
    }


@given(
    st.lists(st.integers(0, 90 * BLOCK), max_size=6),
    st.integers(1, 80 * BLOCK),
    st.integers(0, 2 * BLOCK),
)
@example(shards_bytes=[BLOCK + 1], graph_bytes=61 * BLOCK, index_bytes=2 * BLOCK)  # one block is left for the tail
def test_every_byte_is_wanted_once_in_whole_blocks_and_stages_never_alternate(
    shards_bytes: list[int], graph_bytes: int, index_bytes: int
) -> None:
    files = {f"variables/variables.data-{n:05}-of-00006": size_bytes for n, size_bytes in enumerate(shards_bytes)}
    files |= {"saved_model.pb": graph_bytes, "variables/variables.index": index_bytes}
    wants = plan(entries_of(**files), "saved_model.pb")
    assert [want.stage for want in wants] == sorted(want.stage for want in wants)
    assert total_bytes(wants, Stage.CERTAIN) <= SPECULATION_BYTES
    for path, size_bytes in files.items():
        ranges = sorted((want.offset_bytes, want.end_bytes) for want in wants if want.path == path)
        assert all(end in (size_bytes, end // BLOCK * BLOCK) and start % BLOCK == 0 for start, end in ranges)
        edges = [0, *(end for _, end in ranges)]
        assert edges[-1] == size_bytes
        assert [start for start, _ in ranges] == edges[:-1]
    tails = [want for want in wants if want.path in files and want.end_bytes == files[want.path]]
    assert all(want.size_bytes >= min(TAIL_BYTES, files[want.path]) for want in tails if "data" in want.path)


def test_only_the_files_that_loaders_open_first_begin_anything() -> None:
    assert SavedModel.begins("saved_model.pb", read=False)
    assert Tfjs.begins("inner/model.json", read=False)
    for path in ("tfhub_module.pb", "fingerprint.pb", DATA, "model.tflite", "saved_model.pbtxt", "assets"):
        assert not SavedModel.begins(path, read=False)
        assert not Tfjs.begins(path, read=False)
    assert not SavedModel.begins("saved_model.pb", read=True)


@pytest.mark.parametrize(
    ("opened", "path", "is_loader"),
    [
        ("saved_model.pb", "variables/variables.index", True),
        ("saved_model.pb", DATA, True),
        ("saved_model.pb", "saved_model.pb", False),
        ("saved_model.pb", "fingerprint.pb", False),
        ("inner/saved_model.pb", f"inner/{DATA}", True),
        ("inner/saved_model.pb", DATA, False),
        ("model.json", "group1-shard1of2.bin", True),
        ("model.json", "group1-shard2of2", True),
        ("model.json", "model.json", False),
        ("model.json", "README.md", False),
    ],
)
def test_an_open_of_what_only_loaders_read_shows_one(opened: str, path: str, *, is_loader: bool) -> None:
    entries = entries_of(**{opened: 5, path: 6})
    one = planned(entries, opened)
    one.opened(path)
    assert (one.stage is Stage.FOLLOWED) is is_loader


@pytest.mark.parametrize(
    ("path", "sign"),
    [
        ("debug", Sign.LOADING),
        ("debug/saved_model_debug_info.pb", Sign.LOADING),
        ("inner/debug", Sign.LOADING),
        ("saved_model.pbtxt", Sign.PEEKING),
        ("saved_model.pb", None),
        ("debugging", None),
        ("", None),
    ],
)
def test_lookups_tell_loaders_from_those_who_only_look(path: str, sign: Sign | None) -> None:
    assert sign_of(path) is sign
