"""What a loader of GGUF wants, without I/O."""

import pytest

from hubfs.cache.block_cache import BLOCK_SIZE_BYTES as BLOCK
from hubfs.formats.gguf import Header
from hubfs.sources.prefetch.gguf import Gguf
from hubfs.sources.prefetch.plan import OVERRUN_BYTES, Want
from hubfs.sources.source import Entry, EntryKind

SIZE_BYTES = 100 * BLOCK
SPLITS = [f"m-Q4-{number:05}-of-00003.gguf" for number in (1, 2, 3)]
FILES = ["a.gguf", "b.gguf", *SPLITS, "other-00002-of-00003.gguf", "m-Q4-00002-of-00004.gguf"]


def begun(path: str = "a.gguf") -> Gguf:
    plan = Gguf(path)
    plan.learn([Entry(one, EntryKind.FILE, SIZE_BYTES) for one in FILES])
    return plan


def read(plan: Gguf, start_bytes: int, end_bytes: int, data_bytes: int | None) -> None:
    """Reads in order; a look finds a header of `data_bytes`, or none."""
    for offset_bytes in range(start_bytes, end_bytes, 128 << 10):
        plan.read(plan.begun_by, offset_bytes, min(end_bytes, offset_bytes + (128 << 10)))
        while plan.looks:
            plan.saw(plan.looks.popleft(), None if data_bytes is None else Header(3, 5, 32, data_bytes))


def wanted(plan: Gguf) -> list[Want]:
    found = []
    while (want := plan.wants.next(plan.stage, ())) is not None:
        plan.wants.asked(want, want.end_bytes)
        found.append(want)
    return found


@pytest.mark.parametrize("data_bytes", [5000, 9 * BLOCK])
def test_a_reader_of_the_header_has_nothing_else_fetched_and_a_loader_everything_in_order(data_bytes: int) -> None:
    plan = begun()
    assert Gguf.begins("a.gguf", read=True)
    read(plan, 0, data_bytes + OVERRUN_BYTES, data_bytes)
    assert wanted(plan) == []
    read(plan, data_bytes + OVERRUN_BYTES, data_bytes + OVERRUN_BYTES + 4096, data_bytes)
    wants = wanted(plan)
    assert {want.path for want in wants} == {"a.gguf"}
    edges = [0, *(want.end_bytes for want in wants)]
    assert [want.offset_bytes for want in wants] == edges[:-1]
    assert edges[-1] == SIZE_BYTES


def test_a_short_read_of_the_start_looks_at_no_header() -> None:
    plan = begun()
    plan.read("a.gguf", 0, BLOCK)
    assert not plan.looks


def test_a_file_that_is_none_has_no_plan() -> None:
    plan = begun()
    read(plan, 0, 50 * BLOCK, None)
    assert wanted(plan) == []
    assert plan.over


def test_of_a_model_in_several_files_those_that_follow_are_wanted_in_order() -> None:
    plan = begun(SPLITS[1])
    read(plan, 0, 3 * BLOCK, 5000)
    assert list(dict.fromkeys(want.path for want in wanted(plan))) == SPLITS[1:]


def test_opening_a_file_alone_begins_nothing() -> None:
    assert not Gguf.begins("a.gguf", read=False)
    assert not Gguf.begins("a.gguf.txt", read=True)
