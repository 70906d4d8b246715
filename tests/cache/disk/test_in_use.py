import fcntl
import os
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hubfs.cache.disk.in_use import InUse
from hubfs.cache.disk.layout import CacheLayout

MODEL = "hub/a/b/1@x"


@pytest.fixture
def layout(tmp_path: Path) -> CacheLayout:
    layout = CacheLayout(tmp_path)
    layout.prepare()
    layout.model(MODEL).mkdir(parents=True)
    return layout


def is_idle(layout: CacheLayout) -> bool:
    with InUse(layout).idle(MODEL) as idle:  # as another mount would find it
        return idle


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_a_model_is_idle_until_it_is_held_and_again_after_the_last_release(layout: CacheLayout) -> None:
    use = InUse(layout)
    assert is_idle(layout)
    one, two = use.hold(MODEL), use.hold(MODEL)
    assert not is_idle(layout)
    one()
    one()
    assert not is_idle(layout)
    two()
    assert is_idle(layout)


def test_a_model_that_was_dropped_does_not_come_back_by_looking_whether_it_is_idle(layout: CacheLayout) -> None:
    layout.model(MODEL).rename(layout.trash / "dropped")
    assert not is_idle(layout)
    assert list(layout.models()) == []
    assert not layout.model(MODEL).exists()


def test_a_process_sees_its_own_holds(layout: CacheLayout) -> None:
    use = InUse(layout)
    release = use.hold(MODEL)
    with use.idle(MODEL) as idle:
        assert not idle
    release()
    with use.idle(MODEL) as idle:
        assert idle


def test_a_thousand_open_files_of_a_model_take_one_descriptor(layout: CacheLayout) -> None:
    use = InUse(layout)
    before = open_descriptors()
    releases = [use.hold(MODEL) for _ in range(1000)]
    assert open_descriptors() == before + 1
    for release in releases:
        release()
    assert open_descriptors() == before


def test_holds_and_releases_of_many_threads_leave_nothing_open_and_nothing_locked(layout: CacheLayout) -> None:
    use = InUse(layout)
    before = open_descriptors()

    def cycle(_: int) -> bool:
        release = use.hold(MODEL)
        protected = not is_idle(layout)
        release()
        return protected

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(cycle, range(300)))
    assert open_descriptors() == before
    assert is_idle(layout)


def test_who_comes_while_an_eviction_looks_waits_for_it_and_is_protected(layout: CacheLayout) -> None:
    looking, done = threading.Event(), threading.Event()

    def look() -> None:
        with InUse(layout).idle(MODEL) as idle:
            assert idle
            looking.set()
            time.sleep(0.05)
        done.set()

    with ThreadPoolExecutor(1) as pool:
        looked = pool.submit(look)
        assert looking.wait(60)
        release = InUse(layout).hold(MODEL)
        assert done.is_set()
        looked.result()
    assert not is_idle(layout)
    release()


def test_who_comes_while_a_model_is_being_evicted_holds_what_comes_after_it(layout: CacheLayout) -> None:
    use = InUse(layout)
    with InUse(layout).idle(MODEL) as idle:
        assert idle
        layout.model(MODEL).rename(layout.trash / "grave")
        release = use.hold(MODEL)
    assert not is_idle(layout)
    release()


def test_a_model_that_is_evicted_between_open_and_lock_is_locked_where_it_is_now(
    layout: CacheLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    flock = fcntl.flock
    evicted = []

    def flock_too_late(fd: int, operation: int) -> None:
        if not evicted:
            evicted.append(layout.model(MODEL).rename(layout.trash / "grave"))
        flock(fd, operation)

    with monkeypatch.context() as patched:
        patched.setattr("fcntl.flock", flock_too_late)
        release = InUse(layout).hold(MODEL)
    assert evicted
    assert not is_idle(layout)
    release()


def test_after_forget_a_new_hold_locks_the_new_files_and_old_releases_leave_it_alone(layout: CacheLayout) -> None:
    use = InUse(layout)
    old = use.hold(MODEL)
    layout.model(MODEL).rename(layout.trash / "grave")
    use.forget(MODEL)
    new = use.hold(MODEL)
    old()
    assert not is_idle(layout)
    new()
    assert is_idle(layout)


def test_a_hold_that_fails_is_logged_and_raises_nothing(layout: CacheLayout, caplog: pytest.LogCaptureFixture) -> None:
    shutil.rmtree(layout.models_root)
    layout.models_root.write_text("no directory", encoding="ascii")
    before = open_descriptors()
    InUse(layout).hold(MODEL)()
    assert "cannot mark" in caplog.text
    assert open_descriptors() == before


def test_something_else_in_the_place_of_the_file_neither_hinders_a_hold_nor_an_eviction(layout: CacheLayout) -> None:
    use = InUse(layout)
    layout.in_use(MODEL).mkdir(parents=True)
    release = use.hold(MODEL)
    assert not is_idle(layout)
    release()
    layout.in_use(MODEL).unlink()
    elsewhere = layout.root / "elsewhere"
    elsewhere.write_text("not the cache's")
    layout.in_use(MODEL).symlink_to(elsewhere)
    assert is_idle(layout)
    assert layout.in_use(MODEL).is_file()
    assert not layout.in_use(MODEL).is_symlink()
    assert elsewhere.read_text() == "not the cache's"


def test_the_time_of_the_file_is_the_last_use(layout: CacheLayout) -> None:
    use = InUse(layout)
    for hold_again in (False, True):
        first = use.hold(MODEL) if hold_again else None
        use.hold(MODEL)()
        os.utime(layout.in_use(MODEL), (1000, 1000))
        use.hold(MODEL)()
        assert time.time() - layout.in_use(MODEL).stat().st_mtime < 60
        if first is not None:
            first()
