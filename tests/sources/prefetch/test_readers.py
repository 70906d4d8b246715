import pytest

from hubfs.cache.block_cache import BLOCK_SIZE_BYTES as BLOCK
from hubfs.sources.prefetch.plan import PIECE_BLOCKS, Stage, Want, Wants
from hubfs.sources.prefetch.readers import FOLLOW_S, PEEK_S, ModelReaders

GRAPH, INDEX, DATA = "saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001"
SIZE_BYTES = 8 * BLOCK
WANTS = [
    Want(GRAPH, 0, 100, Stage.CERTAIN),
    Want(DATA, 0, 4 * BLOCK, Stage.CERTAIN),
    Want(DATA, 4 * BLOCK, 4 * BLOCK, Stage.FOLLOWED),
]


@pytest.fixture
def readers() -> ModelReaders:
    readers = ModelReaders()
    begin(readers)
    return readers


def begin(readers: ModelReaders, now_s: float = 0.0) -> None:
    """A process reads the graph, and closes it."""
    readers.opened(GRAPH, now_s)
    plan_with(readers, WANTS)
    readers.released(now_s)


def plan_with(readers: ModelReaders, wants: list[Want]) -> None:
    for plan in readers.unlearned():
        plan.learned, plan.wants = True, Wants(wants)


def drain(readers: ModelReaders) -> list[tuple[str, int, int]]:
    """Asks for everything that is wanted now."""
    asked = []
    while (want := readers.next()) is not None:
        asked.append((want.path, want.offset_bytes, want.end_bytes))
        readers.asked(want, want.end_bytes)
    return asked


CERTAIN = [(GRAPH, 0, 100), (DATA, 0, 4 * BLOCK)]
FOLLOWED = [(DATA, 4 * BLOCK, 8 * BLOCK)]


def test_nothing_is_wanted_before_the_graph_is_opened() -> None:
    readers = ModelReaders()
    readers.opened(INDEX, 0.0)
    readers.looked_up("debug", 0.0)
    assert not readers.plans
    assert not readers.works
    assert not readers.followed(0.0)


def test_what_is_certain_is_wanted_at_once_and_the_rest_when_a_loader_shows(readers: ModelReaders) -> None:
    assert drain(readers) == CERTAIN
    assert not readers.works
    readers.looked_up("debug", 0.1)
    assert readers.works
    assert drain(readers) == FOLLOWED
    assert not readers.works


def test_opening_a_variable_shows_a_loader(readers: ModelReaders) -> None:
    readers.opened(INDEX, 1.0)
    assert drain(readers) == CERTAIN + FOLLOWED


@pytest.mark.parametrize(("later_s", "is_loader"), [(0.0, False), (PEEK_S - 1, False), (PEEK_S + 1, True)])
def test_whoever_looked_for_the_text_form_before_is_no_loader(later_s: float, *, is_loader: bool) -> None:
    readers = ModelReaders()
    readers.looked_up("saved_model.pbtxt", 100.0)
    begin(readers, 100.0 + later_s)
    readers.looked_up("debug", 100.0 + later_s)
    assert drain(readers) == CERTAIN + (FOLLOWED if is_loader else [])


def test_a_sign_of_a_loader_that_comes_after_everybody_left_is_of_somebody_else(readers: ModelReaders) -> None:
    readers.looked_up("debug", FOLLOW_S + 1)
    readers.opened(INDEX, FOLLOW_S + 1)
    assert not readers.plans


def test_a_burst_is_followed_while_a_file_is_open_and_for_a_while_after_the_last_read(readers: ModelReaders) -> None:
    readers.opened(INDEX, 10.0)
    assert readers.followed(10_000.0)
    readers.released(20_000.0)
    assert readers.followed(20_000.0 + FOLLOW_S - 1)
    assert not readers.followed(20_000.0 + FOLLOW_S + 1)


def test_many_who_open_the_model_share_one_burst(readers: ModelReaders) -> None:
    want = readers.next()
    assert want is not None
    readers.asked(want, want.end_bytes)
    for second in range(16):
        begin(readers, second)
    assert drain(readers) == CERTAIN[1:]


def test_opening_the_graph_after_everything_was_asked_for_begins_anew(readers: ModelReaders) -> None:
    readers.opened(INDEX, 1.0)
    drain(readers)
    begin(readers, 2.0)
    assert drain(readers) == CERTAIN


def test_what_a_reader_was_given_is_not_wanted_again(readers: ModelReaders) -> None:
    readers.read(GRAPH, 0, 100, 100, 0.0)
    readers.read(DATA, BLOCK, 2 * BLOCK, SIZE_BYTES, 0.0)
    readers.end()
    begin(readers, 100.0)
    assert drain(readers) == [(DATA, 0, BLOCK), (DATA, 3 * BLOCK, 4 * BLOCK)]


def test_a_reader_that_asks_again_shows_that_the_kernel_lost_its_pages(readers: ModelReaders) -> None:
    readers.read(DATA, 0, SIZE_BYTES, SIZE_BYTES, 0.0)
    readers.end()
    begin(readers, 100.0)
    readers.read(DATA, 0, BLOCK, SIZE_BYTES, 100.0)
    assert drain(readers) == [(GRAPH, 0, 100), (DATA, BLOCK, 4 * BLOCK)]


def test_reading_a_block_piece_by_piece_loses_nothing(readers: ModelReaders) -> None:
    for offset_bytes in range(0, 2 * BLOCK, BLOCK // 8):
        readers.read(DATA, offset_bytes, BLOCK // 8, SIZE_BYTES, 0.0)
    readers.read(DATA, BLOCK // 2, BLOCK, SIZE_BYTES, 0.0)
    readers.end()
    begin(readers, 100.0)
    assert drain(readers) == [(GRAPH, 0, 100), (DATA, 2 * BLOCK, 4 * BLOCK)]


def test_a_refused_piece_is_asked_for_again_from_where_it_was_refused(readers: ModelReaders) -> None:
    graph = readers.next()
    assert graph is not None
    readers.asked(graph, graph.end_bytes)
    want = readers.next()
    assert want is not None
    readers.asked(want, 3 * BLOCK)
    assert drain(readers) == [(DATA, 3 * BLOCK, 4 * BLOCK)]


def test_a_piece_is_never_larger_than_can_be_asked_for_in_no_time() -> None:
    readers = ModelReaders()
    readers.opened(GRAPH, 0.0)
    plan_with(readers, [Want(DATA, 0, 1000 * BLOCK, Stage.CERTAIN)])
    pieces = drain(readers)
    assert pieces[0] == (DATA, 0, PIECE_BLOCKS * BLOCK)
    assert pieces[-1][2] == 1000 * BLOCK


def test_an_ended_burst_wants_nothing(readers: ModelReaders) -> None:
    want = readers.next()
    assert want is not None
    readers.end()
    readers.asked(want, want.end_bytes)
    assert readers.next() is None
    assert not readers.works
