import gzip
import mmap
import os
import select
import signal
import subprocess
import sys
import threading
import time
import zlib
from pathlib import Path

import pytest

from hubfs.errors import Cancelled, Damaged, Stale
from hubfs.formats.byte_reader import Wanted
from hubfs.formats.gzip.span import WINDOW_BYTES, inflate_span
from hubfs.formats.inflating import parallel as parallel_gzip
from hubfs.formats.inflating.parallel import MIN_SIZE_BYTES, ParallelInflater, inflate, suits
from hubfs.formats.inflating.process import WorkerLost
from hubfs.waiting import Cancellation
from tests.support.archives import Feed, flipped, gzipped, in_chunks
from tests.support.inflating import feeding_threads, inflating_processes, noise_and_text, zeros_archive
from tests.support.waiting import Stopwatch, eventually

pytestmark = pytest.mark.slow

DATA = noise_and_text(16 << 20)
PACKED = gzipped(DATA, level=6, name=b"model.tar")
SIZE = len(PACKED)
CHUNK = 1 << 18
assert SIZE > MIN_SIZE_BYTES


@pytest.fixture(autouse=True)
def nothing_is_left():
    before = len(os.listdir("/proc/self/fd"))
    yield
    assert not inflating_processes()
    assert eventually(lambda: not feeding_threads())
    assert len(os.listdir("/proc/self/fd")) <= before


def parallel(chunks, size=SIZE, *, workers=2, cancellation=None, on_checkpoint=lambda *_: None):
    inflater = ParallelInflater(size, workers=workers, cancellation=cancellation or Cancellation())
    return inflater.inflate(chunks, on_checkpoint)


class Losses:
    """How often an archive was read, and how often a process was lost over it."""

    def __init__(self, packed):
        self.packed, self.opened, self.lost = packed, 0, 0

    def open(self):
        self.opened += 1
        return in_chunks(self.packed, CHUNK)

    def on_lost(self, _why):
        self.lost += 1

    def inflate(self, **options):
        settings = {"workers": 2, "cancellation": Cancellation(), "on_checkpoint": lambda *_: None, **options}
        return inflate(self.open, len(self.packed), on_lost=self.on_lost, **settings)


@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize("sizes", [(CHUNK,), (1, 70_001, 3 << 20)])
def test_output_is_what_was_compressed_in_bounded_chunks(workers, sizes):
    chunks = list(parallel(in_chunks(PACKED, *sizes), workers=workers))
    assert b"".join(chunks) == DATA
    assert max(map(len, chunks)) <= 1 << 20


def test_chunks_are_as_large_as_is_wanted_across_the_slots_of_the_ring():
    wanted, sizes, output = Wanted(), [512, *[1 << 20] * 6, 300_001, 700_000, 5, *[1 << 20] * 40], []
    inflater = ParallelInflater(SIZE, workers=2, cancellation=Cancellation())
    chunks = inflater.inflate(in_chunks(PACKED, CHUNK), lambda *_: None, wanted)
    for size in sizes:
        wanted.size_bytes = size
        output.append(next(chunks, b""))
    assert b"".join(output) == DATA
    small, large = 256 << 10, [1 << 20] * 6
    assert [len(chunk) for chunk in output[:10]] == [small, *large, 300_001, 700_000, small]


def test_views_are_as_good_as_bytes():
    view = memoryview(PACKED)
    assert b"".join(parallel(view[start : start + CHUNK] for start in range(0, len(view), CHUNK))) == DATA


def test_every_checkpoint_is_told_in_time_and_inflating_starts_there():
    checkpoints, passed_bytes = [], 0

    def on_checkpoint(*place):
        checkpoints.append((passed_bytes, place))

    for chunk in parallel(in_chunks(PACKED, CHUNK), on_checkpoint=on_checkpoint):
        passed_bytes += len(chunk)
    assert checkpoints[0][1] == (8 * len(gzipped(b"", name=b"model.tar")[:-10]), 0)
    assert len(checkpoints) > 5
    assert [place for _, place in checkpoints] == sorted({place for _, place in checkpoints})
    for told_at, (bit, offset) in checkpoints:
        assert told_at <= offset < told_at + (1 << 20), "before the chunk that contains it"
        window, expected = DATA[max(0, offset - WINDOW_BYTES) : offset], DATA[offset : offset + 50_000]
        assert inflate_span(PACKED[bit // 8 :], bit % 8, window, len(expected)) == expected


@pytest.mark.parametrize(("workers", "enough_mib"), [(1, 6), (2, 8), (4, 12)])
def test_the_first_output_waits_for_no_more_than_the_ring_holds(workers, enough_mib):
    """rapidgzip's threads read further than a chunk each where its main thread gets no processor, and no further."""
    opened, data = threading.Event(), DATA + DATA
    packed = gzipped(data, level=1)
    assert len(packed) > 20 << 20, "most of the archive is not there yet"

    def chunks():
        yield packed[: enough_mib << 20]
        assert opened.wait(200), "no output came"
        yield packed[enough_mib << 20 :]

    output = parallel(chunks(), len(packed), workers=workers)
    first = next(output)
    opened.set()
    assert first + b"".join(output) == data


def test_no_more_is_pulled_than_the_ring_holds_while_nobody_consumes():
    packed = gzip.compress(os.urandom(1 << 20), 1) * 100  # never read to its end
    feed = Feed([packed[start : start + CHUNK] for start in range(0, len(packed), CHUNK)])
    output = parallel(feed, len(packed), workers=1)
    next(output)
    pulled = None
    while pulled != (pulled := feed.pulled * CHUNK):  # it comes to an end long before the archive does
        time.sleep(0.5)
    assert pulled < 20 << 20
    output.close()


def test_errors_of_the_chunks_pass_through_and_the_chunks_are_closed():
    closed = threading.Event()

    def broken():
        try:
            yield PACKED[: 5 << 20]
            raise Stale("the origin changed")
        finally:
            closed.set()

    with pytest.raises(Stale, match="the origin changed"):
        list(parallel(broken()))
    assert closed.is_set()


@pytest.mark.parametrize(("cut", "reason"), [(-1, "ended early"), (len(PACKED) // 2, "ended early"), (None, "longer")])
def test_chunks_of_another_size_than_announced_are_damaged(cut, reason):
    with pytest.raises(Damaged, match=reason):
        list(parallel(in_chunks(PACKED[:cut], CHUNK), len(PACKED) - (cut is None)))


def test_closing_ends_the_process_at_once_and_closes_the_chunks():
    closed = threading.Event()

    def chunks():
        try:
            yield from in_chunks(PACKED, CHUNK)
        finally:
            closed.set()

    output = parallel(chunks())
    next(output)
    assert len(inflating_processes()) == 1
    watch = Stopwatch()
    output.close()
    assert watch.took_s() < 10
    assert not inflating_processes()
    assert closed.wait(60)


def test_a_cancel_ends_a_wait_for_the_network():
    release, cancellation = threading.Event(), Cancellation()

    def chunks():
        yield PACKED[:1000]
        release.wait(200)

    threading.Timer(0.3, cancellation.cancel).start()
    started_s = time.monotonic()
    with pytest.raises(Cancelled):
        list(parallel(chunks(), cancellation=cancellation))
    assert time.monotonic() - started_s < 100
    release.set()


def test_a_network_that_is_slow_is_waited_for(monkeypatch):
    monkeypatch.setattr(parallel_gzip, "_STALL_TIMEOUT_S", 2.0)

    def chunks():
        yield PACKED[: 3 << 20]
        time.sleep(2.5)
        yield PACKED[3 << 20 :]

    assert b"".join(parallel(chunks())) == DATA


def test_a_process_that_does_nothing_is_lost(monkeypatch):
    output = parallel(in_chunks(PACKED, CHUNK))
    next(output)
    monkeypatch.setattr(parallel_gzip, "_STALL_TIMEOUT_S", 0.5)
    (pid,) = inflating_processes()
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(WorkerLost, match="did nothing"):
        list(output)


def test_a_process_that_is_killed_is_lost_and_says_how():
    output = parallel(in_chunks(PACKED, CHUNK))
    next(output)
    (pid,) = inflating_processes()
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(WorkerLost, match="killed by SIGKILL"):
        list(output)


def test_a_process_that_does_not_start_is_lost(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    with pytest.raises(WorkerLost, match="did not start"):
        list(parallel(in_chunks(PACKED, CHUNK)))


def test_the_process_has_nothing_that_it_does_not_need():
    output = parallel(in_chunks(PACKED, CHUNK))
    next(output)
    process = Path(f"/proc/{inflating_processes()[0]}")
    limits = (process / "limits").read_text()
    assert "NoNewPrivs:\t1" in (process / "status").read_text()
    assert (process / "cwd").readlink() == Path("/")
    assert (process / "environ").read_bytes() == b""
    for name in ("Max core file size", "Max file size"):
        assert f"{name:<26}0 " in limits
    assert f"{'Max open files':<26}16 " in limits
    assert {(process / "fd" / name).readlink() for name in "012"} == {Path("/dev/null")}
    output.close()


LIMITED = """
import ctypes, resource, sys
from hubfs.waiting import Cancellation
from hubfs.formats.inflating.parallel import ParallelInflater

bounding_set, sys_resource = 24, 24
ctypes.CDLL(None).prctl(bounding_set, sys_resource, 0, 0, 0)  # as in a container; else root may raise limits
resource.setrlimit(resource.RLIMIT_AS, (7 << 30, 7 << 30))
packed = open(sys.argv[1], "rb").read()
output = ParallelInflater(len(packed), workers=2, cancellation=Cancellation())
print(sum(map(len, output.inflate(iter([packed]), lambda *_: None))))
"""


def test_the_process_takes_the_limits_that_the_daemon_has_if_they_are_lower(tmp_path):
    archive = tmp_path / "archive"
    archive.write_bytes(PACKED)
    command = [sys.executable, "-c", LIMITED, str(archive)]
    output = subprocess.check_output(command, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    assert int(output) == len(DATA)


PROGRAM = """
import sys, time
from hubfs.waiting import Cancellation
from hubfs.formats.inflating.parallel import ParallelInflater
from tests.support.inflating import inflating_processes

def chunks(packed):
    while packed:
        yield packed[:100_000]
        packed = packed[100_000:]
        if starve and len(packed) < 12 << 20:
            time.sleep(60)

starve = sys.argv[2] == "starved"
packed = open(sys.argv[1], "rb").read()
output = ParallelInflater(len(packed), workers=2, cancellation=Cancellation()).inflate(chunks(packed), print)
next(output)
print("worker", *inflating_processes(), flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("state", ["starved", "full"])
def test_the_process_ends_with_the_daemon_however_that_ends(tmp_path, state):
    archive = tmp_path / "archive"
    archive.write_bytes(gzipped(os.urandom(16 << 20), level=1))
    command = [sys.executable, "-c", PROGRAM, str(archive), state]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ) as daemon:
        assert daemon.stdout is not None
        pid = next(int(line.split()[1]) for line in daemon.stdout if line.startswith("worker"))
        gone = os.pidfd_open(pid)
        daemon.kill()
    readable, _, _ = select.select([gone], [], [], 10)
    os.close(gone)
    assert readable, "the inflating process outlived its daemon"


def test_bombs_are_bounded_in_memory():
    packed = zeros_archive(512)
    process, passed, peak = None, 0, 0
    for chunk in parallel(in_chunks(packed, CHUNK), len(packed)):
        passed += len(chunk)
        process = process or Path(f"/proc/{inflating_processes()[0]}/statm")
        peak = max(peak, int(process.read_text().split()[1]) * mmap.PAGESIZE)
    assert passed == 512 << 20
    assert peak < 400 << 20


@pytest.mark.parametrize(
    "packed",
    [
        PACKED + gzipped(DATA[:100_000]),
        PACKED + bytes(1000),
        PACKED + bytes(1000) + gzipped(b"x"),
    ],
    ids=["two members", "zeros behind", "zeros between"],
)
def test_what_only_the_other_engine_can_judge_is_read_again(packed):
    archive = Losses(packed)
    output = b"".join(archive.inflate())
    assert zlib.crc32(output) == zlib.crc32(gzip.decompress(packed))
    assert (archive.opened, archive.lost) == (2, 1)


def test_a_member_without_output_is_no_reason_to_read_again():
    archive = Losses(gzipped(b"") + PACKED)
    assert b"".join(archive.inflate()) == DATA
    assert archive.opened == 1


@pytest.mark.parametrize(
    "damaged",
    [
        PACKED[:-1],
        PACKED[:-8],
        PACKED[:-9],
        PACKED[: 10 << 20],
        PACKED + b"x",
        PACKED + b"garbage",
        flipped(PACKED, 8 * (len(PACKED) - 7)),
        flipped(PACKED, 8 * (len(PACKED) - 2)),
        flipped(PACKED, 4 * len(PACKED)),
        PACKED[: 9 << 20] + bytes(1000) + PACKED[(9 << 20) + 1000 :],
        PACKED + gzipped(DATA[:100_000])[:5000],
    ],
    ids=[
        "cut by 1",
        "no trailer",
        "cut by 9",
        "cut",
        "a byte behind",
        "garbage behind",
        "wrong checksum",
        "wrong length",
        "a bit wrong",
        "zeros within",
        "second member cut",
    ],
)
@pytest.mark.parametrize("workers", [1, 2])
def test_damage_is_never_accepted(damaged, workers):
    with pytest.raises(WorkerLost):
        list(parallel(in_chunks(damaged, CHUNK), len(damaged), workers=workers))
    archive = Losses(damaged)
    with pytest.raises(Damaged):
        list(archive.inflate(workers=workers))
    assert archive.opened == 2


@pytest.mark.parametrize("after", [1, 9])
def test_a_lost_process_costs_a_second_reading_and_nothing_else(after):
    archive = Losses(PACKED)
    output = archive.inflate()
    seen = b"".join(bytes(next(output)) for _ in range(after))
    for pid in inflating_processes():
        os.kill(pid, signal.SIGKILL)
    assert seen + b"".join(output) == DATA
    assert (archive.opened, archive.lost) == (2, 1)


@pytest.mark.parametrize("other", [DATA[: 6 << 20], b"?" + DATA[1:]], ids=["shorter", "other bytes"])
def test_a_second_reading_of_another_archive_is_damaged(other):
    archive = Losses(PACKED)
    output = archive.inflate()
    for _ in range(8):
        next(output)
    archive.packed = gzipped(other, level=1)
    for pid in inflating_processes():
        os.kill(pid, signal.SIGKILL)
    with pytest.raises(Damaged, match="than a moment ago"):
        list(output)


@pytest.mark.parametrize("packed", [gzipped(DATA[:5000]), DATA[:5000], b"\x1f"], ids=["small", "no gzip", "one byte"])
def test_what_does_not_suit_is_inflated_here(packed):
    def outcome(inflated):
        try:
            return b"".join(inflated)
        except Damaged as error:
            return str(error)

    archive = Losses(packed)
    assert outcome(archive.inflate()) == outcome(parallel_gzip.gzip.inflate([packed]))
    assert (archive.opened, archive.lost) == (1, 0)


@pytest.mark.parametrize("packed", [PACKED, PACKED[:1000]], ids=["parallel", "small"])
def test_closing_closes_the_chunks(packed):
    closed = threading.Event()

    def chunks():
        try:
            yield from in_chunks(packed, 100)
        finally:
            closed.set()

    output = inflate(
        chunks,
        len(packed),
        workers=2,
        cancellation=Cancellation(),
        on_checkpoint=lambda *_: None,
        on_lost=lambda _: None,
    )
    next(output)
    output.close()
    assert closed.wait(60)


@pytest.mark.parametrize(
    ("head", "size", "workers", "answer"),
    [
        (b"\x1f\x8b\x08\x00", MIN_SIZE_BYTES, 1, True),
        (b"\x1f\x8b\x08\x19", MIN_SIZE_BYTES, 8, True),
        (b"\x1f\x8b\x08\x00", MIN_SIZE_BYTES - 1, 1, False),
        (b"\x1f\x8b\x08\x00", None, 1, False),
        (b"\x1f\x8b\x08\x00", MIN_SIZE_BYTES, 0, False),
        (b"\x1f\x8b\x08\x04", MIN_SIZE_BYTES, 1, False),
        (b"\x1f\x8b\x08\x02", MIN_SIZE_BYTES, 1, False),
        (b"\x1f\x8b\x08\xe0", MIN_SIZE_BYTES, 1, False),
        (b"\x1f\x8b\x07\x00", MIN_SIZE_BYTES, 1, False),
        (b"mode", MIN_SIZE_BYTES, 1, False),
        (b"\x1f\x8b\x08", MIN_SIZE_BYTES, 1, False),
    ],
)
def test_only_big_plain_gzip_files_of_known_size_suit(head, size, workers, answer):
    assert suits(head, size, workers) is answer
