"""The table of nodes against a model of it; and what another process finds in its memory."""

import os
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubfs.errors import Stale
from hubfs.fuse.session.nodes import SEVERAL, NodeTable
from hubfs.fuse.session.protocol import ROOT_ID

PATHS = ["/a", "/a/b", "/ü", "/\udcff", "/" + "long/" * 40, "/" + "x" * 255]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["look up", "forget", "forget all", "replace", "open", "release"]), st.sampled_from(PATHS)
    )
)


def contents(table: NodeTable) -> dict[int, tuple[str, int, int, int]]:
    return {number: (node.path, node.lookups, node.opens, node.backing_id) for number, node in table.items()}


@given(STEPS)
def test_a_node_is_known_until_every_lookup_is_given_back_and_another_process_finds_the_same(
    steps: list[tuple[str, str]],
) -> None:
    table = NodeTable()
    now: dict[str, int] = {}  # by path, the node that a lookup finds
    lookups: Counter[int] = Counter()
    opens: Counter[int] = Counter()
    paths: dict[int, str] = {}
    for step, path in steps:
        known = now.get(path)
        if step == "look up":
            number = table.look_up(path)
            assert number == known if known else number not in paths
            now[path], paths[number] = number, path
            lookups[number] += 1
        elif known is None:
            assert table.find(path) is None
        elif step == "replace":
            table.replace(known)
            del now[path]
        elif step in {"forget", "forget all"}:
            lost = lookups[known] if step == "forget all" else 1
            table.forget(known, lost)
            lookups[known] -= lost
            if not lookups[known]:
                del now[path], lookups[known], opens[known]
        elif step == "open":
            table.opened(known, 7)
            opens[known] += 1
        else:
            table.released(known)
            opens[known] = max(0, opens[known] - 1)
    expected = {
        ROOT_ID: ("", 1, 0, 0),
        **{number: (paths[number], told, opens[number], 7 if opens[number] else 0) for number, told in lookups.items()},
    }
    assert contents(table) == expected
    successor = NodeTable(os.dup(table.descriptor))
    assert contents(successor) == expected
    for path, number in now.items():
        assert table.find(path) == number
        assert table[number].path == path
        assert successor.find(path) == number
    assert successor.look_up("/new") not in paths
    table.close()
    successor.close()


def test_the_contents_of_a_file_are_known_to_another_process_too() -> None:
    table = NodeTable()
    number, other = table.look_up("/a"), table.look_up("/b")
    assert table.has_contents(number, 7)
    successor = NodeTable(os.dup(table.descriptor))
    for each in (table, successor):
        assert each.has_contents(number, 7)
        assert not each.has_contents(number, 8)
    assert successor.has_contents(other, 8)
    table.close()
    successor.close()


@pytest.mark.parametrize(
    ("done", "left"),
    [
        ([], 0),
        ([7], 7),
        ([7, 7], 7),
        ([7, 8], SEVERAL),
        ([7, 8, 0, 8], SEVERAL),
        ([7, 8, 0, 0, 8], 8),
        ([7, 0], 7),
        ([7, 0, 8], 8),
    ],
)
def test_the_text_that_is_open_is_known_to_another_process_unless_there_are_several(done: list[int], left: int) -> None:
    """`done`: the texts that are opened, in order; 0: one is closed."""
    table = NodeTable()
    number = table.look_up("/.hubfs/status.json")
    for text in done:
        if text:
            table.opened(number, 0, text)
        else:
            table.released(number)
    successor = NodeTable(os.dup(table.descriptor))
    assert successor.text_left(number, 9) == left
    assert successor.text_left(number, 9) == left, "all that it left open are of one text"
    assert NodeTable(os.dup(table.descriptor)).text_left(number, 9) == SEVERAL, "some may be read anew by now"


def test_what_the_kernel_was_never_told_of_is_stale_and_the_root_stays() -> None:
    table = NodeTable()
    number = table.look_up("/a")
    table.forget(number, 1)
    for unknown in (number, 0, 77, 1 << 63):
        with pytest.raises(Stale):
            table[unknown]
        table.forget(unknown, 1)
        table.replace(unknown)
        table.opened(unknown, 1)
        table.opened(unknown, 0, 7)
        assert table.text_left(unknown, 7) == 0
        table.released(unknown)
    table.forget(ROOT_ID, 10)
    assert table[ROOT_ID].path == ""


def test_a_table_is_as_large_as_what_was_known_at_once() -> None:
    table = NodeTable()
    for round_ in range(50):
        numbers = [table.look_up(f"/{round_}/{file}") for file in range(500)]
        assert len(table) == 501
        for number in numbers:
            table.forget(number, 1)
    assert len(table) == 1
    assert os.fstat(table.descriptor).st_size <= 1 << 17
    assert table.look_up("/last") > 50 * 500, "a number that was given out once is never given out for another path"


def test_what_init_agreed_on_is_found_by_another_process() -> None:
    table = NodeTable()
    assert table.agreed == 0
    table.agree((1 << 39) + 5)
    assert NodeTable(os.dup(table.descriptor)).agreed == (1 << 39) + 5


def test_a_record_that_a_kill_left_half_written_is_none() -> None:
    table = NodeTable()
    number = table.look_up("/whole")
    half = table.look_up("/half")
    place = table[half].place
    os.pwrite(table.descriptor, bytes(8), place + 16)  # its lookups, which are written last
    successor = NodeTable(os.dup(table.descriptor))
    assert {path for path, *_ in contents(successor).values()} == {"", "/whole"}
    assert successor[number].path == "/whole"
    successor.look_up("/next")
    assert os.fstat(table.descriptor).st_size == 1 << 16


@pytest.mark.parametrize("memory", [bytes(4096), b"x" * 4096])
def test_memory_that_holds_no_table_is_refused(memory: bytes) -> None:
    descriptor = os.memfd_create("other")
    os.write(descriptor, memory)
    with pytest.raises(ValueError, match="no table"):
        NodeTable(descriptor)
    os.close(descriptor)


def test_a_damaged_table_is_refused() -> None:
    table = NodeTable()
    table.look_up("/a")
    os.pwrite(table.descriptor, b"\xff" * 8, 32)
    with pytest.raises(ValueError, match="damaged"):
        NodeTable(os.dup(table.descriptor))
