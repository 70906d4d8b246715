"""Lookups that a process counted and did not live to tell of."""

import os
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubfs.fuse.session import untold as module
from hubfs.fuse.session.nodes import NodeTable
from hubfs.fuse.session.protocol import ROOT_ID
from hubfs.fuse.session.untold import Untold


class Kernel:
    """Which nodes the kernel knows; notes what it is asked, and what the session is told is gone."""

    def __init__(self) -> None:
        self.known: set[int] = set()
        self.asked: list[int] = []
        self.gone: list[int] = []

    def knows(self, node_id: int) -> bool:
        self.asked.append(node_id)
        return node_id in self.known


@pytest.fixture(autouse=True)
def _no_thread_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE_S", 3600.0)


@pytest.fixture
def kernel() -> Kernel:
    return Kernel()


@pytest.fixture
def left() -> Iterator[NodeTable]:
    """The table of a process that died; it had counted two lookups of /a, and one of /b."""
    table = NodeTable()
    for path in ("/a", "/a", "/b"):
        table.look_up(path)
    yield table
    table.close()


@pytest.fixture
def table(left: NodeTable) -> Iterator[NodeTable]:
    table = NodeTable(os.dup(left.descriptor))
    yield table
    table.close()


@pytest.fixture
def untold(table: NodeTable, kernel: Kernel) -> Iterator[Untold]:
    over = threading.Event()
    untold = Untold(table, kernel.knows, kernel.gone.append, over)
    untold.take_up()
    yield untold
    over.set()
    untold.end()


def test_a_node_that_the_kernel_never_heard_of_goes(untold: Untold, table: NodeTable, kernel: Kernel) -> None:
    a, b = table.find("/a"), table.find("/b")
    assert a
    kernel.known = {a}
    untold.look()
    assert (table.find("/a"), table.find("/b")) == (a, None)
    assert kernel.gone == [b]
    untold.look()
    assert sorted(kernel.asked) == [a, b], "each is asked for once"


def test_what_was_counted_twice_goes_once_it_is_given_back(untold: Untold, table: NodeTable, kernel: Kernel) -> None:
    a = table.find("/a")
    assert a
    kernel.known = {a}
    untold.look()
    kernel.known = set()
    table.forget(a, 1)  # one of two: the kernel was told of one
    untold.given_back(a)
    untold.look()
    assert table.find("/a") is None


def test_a_reply_may_be_on_its_way_where_the_count_changes(untold: Untold, table: NodeTable, kernel: Kernel) -> None:
    a = table.look_up("/a")
    untold.look()
    assert table.find("/a") == a
    assert a not in kernel.asked
    untold.look()
    assert table.find("/a") is None


def test_a_lookup_while_the_kernel_is_asked_stays(table: NodeTable, kernel: Kernel) -> None:
    def knows(node_id: int) -> bool:
        assert table.look_up("/a" if node_id == table.find("/a") else "/b") == node_id
        return False

    over = threading.Event()
    untold = Untold(table, knows, kernel.gone.append, over)
    untold.take_up()
    untold.look()
    assert {node.path: node.lookups for _, node in table.items()} == {"": 1, "/a": 1, "/b": 1}
    over.set()
    untold.end()


def test_nothing_of_this_process_is_asked_for(kernel: Kernel) -> None:
    table, over = NodeTable(), threading.Event()
    node_id = table.look_up("/a")
    table.look_up("/a")
    untold = Untold(table, kernel.knows, kernel.gone.append, over)
    untold.take_up()
    table.forget(node_id, 1)
    untold.given_back(node_id)
    untold.look()
    assert kernel.asked == []
    table.close()


@given(st.lists(st.tuples(st.sampled_from(["/a", "/b", "/c"]), st.booleans()), max_size=30), st.integers(0, 5))
def test_only_what_the_kernel_knows_is_left_however_often_processes_died(
    lookups: list[tuple[str, bool]], every: int
) -> None:
    """Of each lookup it is drawn whether its reply came; after every few, the process dies, and another takes over."""
    tables, told = [NodeTable()], dict[int, int]()
    for number, (path, came) in enumerate(lookups):
        node_id = tables[-1].look_up(path)
        if came:
            told[node_id] = told.get(node_id, 0) + 1
        if not came or number % (every + 1) == 0:  # a reply is lost by nothing else
            tables.append(NodeTable(os.dup(tables[-1].descriptor)))
    tables.append(NodeTable(os.dup(tables[-1].descriptor)))
    table, over = tables[-1], threading.Event()
    untold = Untold(table, told.__contains__, lambda _: None, over)
    untold.take_up()
    untold.look()
    assert {node_id for node_id, _ in table.items()} == {ROOT_ID, *told}
    for node_id, lookups_told in [*told.items()]:
        del told[node_id]
        table.forget(node_id, lookups_told)
        untold.given_back(node_id)
    untold.look()
    assert len(table) == 1
    over.set()
    untold.end()
    for each in tables:
        each.close()
