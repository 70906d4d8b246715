import threading

import pytest

from hubfs.blobs.http.probing import AT_ONCE, in_parallel, looks_like_page
from hubfs.errors import Unavailable


def test_answers_come_in_the_order_of_the_items() -> None:
    assert in_parallel(lambda number: number * 2, range(50)) == [*range(0, 100, 2)]
    assert in_parallel(lambda number: number, ()) == []


def test_so_many_are_asked_at_once_and_no_more() -> None:
    lock = threading.Lock()
    together = threading.Barrier(AT_ONCE)
    running, most = 0, 0

    def ask(_: int) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        together.wait(60)
        with lock:
            running -= 1

    in_parallel(ask, range(3 * AT_ONCE))
    assert most == AT_ONCE


def test_after_a_failure_the_rest_is_not_asked_and_no_thread_is_left() -> None:
    asked: list[int] = []
    failed = threading.Event()

    def ask(number: int) -> None:
        asked.append(number)
        if number == 0:
            failed.set()
            raise Unavailable("the hub is down")
        failed.wait(60)
        threading.Event().wait(0.02)  # those beside it outlast the failure

    before = {*threading.enumerate()}
    with pytest.raises(Unavailable, match="is down"):
        in_parallel(ask, range(2000))
    assert len(asked) < 1000
    assert {*threading.enumerate()} <= before  # and threads of other tests may have ended


@pytest.mark.parametrize(
    ("content_type", "head", "page"),
    [
        ("text/html; charset=utf-8", b"", True),
        ("Application/XHTML+XML", b"", True),
        ("", b"\xef\xbb\xbf\n <!DOCTYPE html>", True),
        ("application/gzip", b"<html>", True),
        ("text/plain", b"gs://bucket", False),
        ("application/json", b'{"html": 1}', False),
    ],
)
def test_a_page_is_told_by_its_type_or_its_start(content_type: str, head: bytes, *, page: bool) -> None:
    assert looks_like_page(content_type, head) is page
