"""Turns on the disk: who fetches, who waits for it, and until when."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hubfs.cache.disk.indexes import IndexStore
from hubfs.cache.disk.layout import CacheLayout
from hubfs.cache.disk.turns import DiskTurns
from hubfs.cache.turns import Member, NoTurns
from hubfs.errors import Cancelled
from hubfs.waiting import Cancellation
from tests.contracts.block_cache_contract import KEY, MODEL
from tests.support.turns import never, still_waits, take
from tests.support.waiting import eventually

MEMBERS = [{"path": f"variables/\udc80 {number}", "size_bytes": number} for number in range(3)]


class Desk:
    def __init__(self, home: Path) -> None:
        self.layout = CacheLayout(home)
        self.layout.prepare()
        self.cancellation = Cancellation()
        self.keeps = True

    def daemon(self, *, ttl_s: float = 60.0, patience_s: float = 60.0) -> DiskTurns:
        return DiskTurns(
            *(self.layout, NoTurns(), self.cancellation),
            keeps=lambda: self.keeps,
            ttl_s=ttl_s,
            poll_s=0.01,
            patience_s=patience_s,
        )


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path / "cache")
    yield desk
    desk.cancellation.cancel()


@pytest.fixture
def pool(desk: Desk) -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool
        desk.cancellation.cancel()


def fetch(turns: DiskTurns, run: range, arrived: Callable[[], bool] = lambda: False) -> bool:
    with turns.run_turn(KEY, run, arrived):
        return True


def test_one_makes_the_pass_and_the_other_waits_until_its_index_is_there(desk: Desk, pool: ThreadPoolExecutor) -> None:
    first, second = desk.daemon(), desk.daemon()

    def wait() -> bool:
        with second.pass_turn(MODEL, lambda members: members is None and second.index(MODEL) is not None) as turn:
            return turn.mine

    with first.pass_turn(MODEL, never) as turn:
        assert turn.mine
        waiting = pool.submit(wait)
        assert still_waits(waiting)
        IndexStore(desk.layout).save(MODEL, {"entries": []})
    assert waiting.result(60) is False
    assert take(second)


def test_who_waits_is_next_when_nothing_arrives_and_other_models_are_free(desk: Desk, pool: ThreadPoolExecutor) -> None:
    with desk.daemon().pass_turn(MODEL, never):
        waiting = pool.submit(take, desk.daemon())
        assert still_waits(waiting)
        assert take(desk.daemon(), f"{MODEL}0")
    assert waiting.result(60) is True


def test_who_waits_is_told_each_member_once_and_every_member_again_by_another_pass(
    desk: Desk, pool: ThreadPoolExecutor
) -> None:
    heard: list[Member] = []
    enough = threading.Event()

    def listen(members: Sequence[Member] | None) -> bool:
        heard.extend(members or ())
        return enough.is_set()

    def wait() -> bool:
        with desk.daemon().pass_turn(MODEL, listen) as turn:
            return turn.mine

    with desk.daemon().pass_turn(MODEL, never) as turn:
        turn.tell(MEMBERS[0])
        waiting = pool.submit(wait)
        assert eventually(lambda: heard == MEMBERS[:1])
        turn.tell(MEMBERS[1])
        turn.tell(MEMBERS[2])
        assert eventually(lambda: heard == MEMBERS)
        (told,) = desk.layout.turns(MODEL).glob("members")
        os.truncate(told, 0)
        assert still_waits(waiting)
        told.write_bytes(b"0badc0de {}\n")
        assert still_waits(waiting)
        assert heard == MEMBERS
        enough.set()
        assert waiting.result(60) is False


def test_a_holder_that_lets_go_is_waited_for_no_longer(desk: Desk, pool: ThreadPoolExecutor) -> None:
    with desk.daemon().pass_turn(MODEL, never) as turn:
        waiting = pool.submit(take, desk.daemon())
        assert still_waits(waiting)
        turn.let_go()
        assert waiting.result(60) is True


def test_blocks_exclude_each_other_and_no_others(desk: Desk, pool: ThreadPoolExecutor) -> None:
    first, second = desk.daemon(), desk.daemon()
    arrived: list[bool] = []
    with first.run_turn(KEY, range(4, 8), lambda: False):
        assert fetch(second, range(4))
        assert fetch(second, range(8, 9))
        waiting = pool.submit(fetch, second, range(7, 9), lambda: bool(arrived.append(True)))
        assert still_waits(waiting)
        assert not arrived
    assert waiting.result(60)
    assert arrived == [True]


@pytest.mark.slow
def test_a_heartbeat_keeps_the_others_waiting(desk: Desk, pool: ThreadPoolExecutor) -> None:
    with desk.daemon(ttl_s=2.0).pass_turn(MODEL, never):
        waiting = pool.submit(take, desk.daemon(ttl_s=2.0))
        assert not eventually(waiting.done, 5)
    assert waiting.result(60) is True


def test_a_holder_without_a_heartbeat_is_not_waited_for(desk: Desk) -> None:
    with desk.daemon(ttl_s=300).pass_turn(MODEL, never), desk.daemon(ttl_s=300).run_turn(KEY, range(3), lambda: False):
        assert take(desk.daemon(ttl_s=0.3))
        assert fetch(desk.daemon(ttl_s=0.3), range(2, 5))


def test_nobody_waits_longer_than_its_patience(desk: Desk) -> None:
    with desk.daemon(ttl_s=0.1).pass_turn(MODEL, never):
        assert take(desk.daemon(patience_s=0.2))


HOLD = """
import sys, threading
from pathlib import Path
from hubfs.cache.disk.turns import DiskLease
lease = DiskLease(Path(sys.argv[1]), Path(sys.argv[2]), range(1))
print(lease.acquire(), flush=True)
threading.Event().wait()
"""


def test_the_kernel_frees_what_a_killed_process_held(desk: Desk, pool: ThreadPoolExecutor) -> None:
    lease = desk.layout.turns(MODEL) / "pass"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, lease, desk.layout.models_root], stdout=subprocess.PIPE
    ) as holder:
        try:
            assert holder.stdout
            assert holder.stdout.readline() == b"True\n"
            waiting = pool.submit(take, desk.daemon())
            assert still_waits(waiting)
        finally:
            holder.send_signal(signal.SIGKILL)
        assert waiting.result(60) is True


def test_while_the_disk_keeps_nothing_nobody_waits(desk: Desk, pool: ThreadPoolExecutor) -> None:
    with desk.daemon().pass_turn(MODEL, never):
        waiting = pool.submit(take, desk.daemon())
        assert still_waits(waiting)
        desk.keeps = False
        assert waiting.result(60) is True
        assert take(desk.daemon())
        assert fetch(desk.daemon(), range(1))


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EINVAL, errno.EOPNOTSUPP])
def test_where_nothing_can_be_locked_everybody_fetches(
    desk: Desk, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> bytes:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "fcntl", fail)
    with desk.daemon().pass_turn(MODEL, never) as turn:
        assert turn.mine
        turn.tell(MEMBERS[0])
        assert take(desk.daemon())


def test_something_else_in_the_leases_place_lets_everybody_fetch(desk: Desk) -> None:
    (desk.layout.turns(MODEL) / "pass").mkdir(parents=True)
    (desk.layout.turns(MODEL) / "members").mkdir()
    with desk.daemon().pass_turn(MODEL, never):
        assert take(desk.daemon())
    assert take(desk.daemon(), "hub/../../outside@1")


def test_a_model_that_is_dropped_meanwhile_has_new_leases(desk: Desk, pool: ThreadPoolExecutor) -> None:
    with desk.daemon().pass_turn(MODEL, never):
        desk.layout.discard(desk.layout.model(MODEL))
        with desk.daemon().pass_turn(MODEL, never):
            waiting = pool.submit(take, desk.daemon())
            assert still_waits(waiting)
        assert waiting.result(60) is True


def test_a_cancel_ends_the_wait(desk: Desk, pool: ThreadPoolExecutor) -> None:
    with desk.daemon().pass_turn(MODEL, never):
        waiting = pool.submit(take, desk.daemon())
        assert still_waits(waiting)
        desk.cancellation.cancel()
        with pytest.raises(Cancelled):
            waiting.result(60)


def test_an_error_frees_the_lease(desk: Desk) -> None:
    def fail(_: Sequence[Member] | None) -> bool:
        raise ZeroDivisionError

    for arrived in (fail, never):
        with pytest.raises(ZeroDivisionError), desk.daemon().pass_turn(MODEL, arrived):
            raise ZeroDivisionError
    assert take(desk.daemon())
