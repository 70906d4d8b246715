"""Damaged archives by the thousand: whatever they hold, the outcome is that of the engine in this process.

They are the same, and as many, on every machine. `HUBFS_FUZZ_S`, or `scripts/test faults`, goes on with others for so
many seconds; `HUBFS_FUZZ_SEED` is where it begins.
"""

import os
import random
import threading
import time
import zlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest

from hubfs.errors import Damaged
from hubfs.formats.gzip import stream as gzip
from hubfs.formats.inflating import parallel as parallel_gzip
from hubfs.formats.inflating import protocol as worker_protocol
from hubfs.formats.inflating.parallel import ParallelInflater
from hubfs.formats.inflating.process import WorkerLost
from hubfs.waiting import Cancellation
from tests.support.archives import flipped, gzipped, in_chunks, without
from tests.support.figures import budget
from tests.support.inflating import feeding_threads, inflating_processes, noise_and_text, zeros_archive
from tests.support.waiting import eventually

DURATION_S = budget("fuzz_s", boxed=0, full=30)
SAME, SAME_S = 200, 120
"""So many archives without it: twelve seconds of an idle machine. One that is busier still tries fewer."""

FIRST_SEED = int(os.environ.get("HUBFS_FUZZ_SEED", "0"))
AT_ONCE = 4
HANGS_S = 60.0
CHUNK_BYTES = 1 << 16
"""Small, so that small archives are of many chunks, too."""


def deflated(data, level, strategy=zlib.Z_DEFAULT_STRATEGY, memory_level=8):
    stream = zlib.compressobj(level, zlib.DEFLATED, 31, memory_level, strategy)
    return stream.compress(data) + stream.flush()


def kinds():
    mixed = noise_and_text(600_000)
    noise, text = mixed[:500_000], mixed[-400_000:]
    return {
        "noise": gzipped(noise, level=6),
        "stored": deflated(noise, 0),
        "text": gzipped(text * 2, level=9),
        "huffman only": deflated(text, 6, zlib.Z_HUFFMAN_ONLY),
        "fixed codes": deflated(text, 6, zlib.Z_FIXED),
        "small blocks": deflated(mixed, 6, memory_level=1),
        "members": b"".join(gzipped(mixed[start : start + 90_000]) for start in range(0, len(mixed), 90_000)),
        "padded": gzipped(mixed) + bytes(5000),
        "bomb": zeros_archive(40),
        "tiny": gzipped(b"hello"),
        "empty": gzipped(b""),
        "all fields": gzipped(mixed, extra=b"extra", name=b"name", comment=b"comment", header_checksum=True),
    }


def cut(dice, packed):
    return packed[: dice.randrange(len(packed))]


def bits_flipped(dice, packed):
    for _ in range(dice.choice([1, 1, 2, 10])):
        packed = flipped(packed, dice.randrange(8 * len(packed)))
    return packed


def overwritten(dice, packed):
    start, size = dice.randrange(len(packed)), dice.choice([1, 8, 500, 70_000])
    size = min(size, len(packed) - start)
    return packed[:start] + dice.choice([bytes(size), dice.randbytes(size)]) + packed[start + size :]


def deleted(dice, packed):
    return without(packed, dice.randrange(len(packed)), dice.choice([1, 2, 100, 70_000]))


def doubled(dice, packed):
    start, end = sorted(dice.randrange(len(packed)) for _ in range(2))
    return packed[:end] + packed[start:]


def followed(dice, packed):
    return packed + dice.choice([b"\0", b"x", bytes(3000), dice.randbytes(3000), packed[:100], packed])


def trailer_changed(dice, packed):
    return flipped(packed, 8 * len(packed) - 1 - dice.randrange(64))


def invented(dice, packed):
    return packed[: dice.choice([2, 3, 10, 20])] + dice.randbytes(dice.choice([0, 1, 100, 300_000]))


def spliced(dice, packed):
    other = dice.choice(list(KINDS.values()))
    return packed[: dice.randrange(len(packed))] + other[dice.randrange(len(other)) :]


def untouched(_, packed):
    return packed


KINDS = kinds()
DAMAGES = (cut, bits_flipped, overwritten, deleted, doubled, followed, trailer_changed, invented, spliced, untouched)


def outcome(inflated):
    """The size and the checksum of what came, or why it was refused, and whether it was."""
    size, checksum = 0, 0
    try:
        for chunk in inflated:
            size += len(chunk)
            checksum = zlib.crc32(chunk, checksum)
    except Damaged:
        return "damaged"
    except WorkerLost as lost:
        return f"lost: {lost}"
    return size, checksum


def judge(seed):
    """What became of the archive of this seed: in the process alone, and with the other engine behind it."""
    dice = random.Random(seed)
    name, damage = dice.choice(list(KINDS)), dice.choice(DAMAGES)
    packed = damage(dice, KINDS[name])
    pieces, workers = dice.choice([1000, 50_000, 1 << 20]), dice.choice([1, 2, 3])
    expected = outcome(gzip.inflate([packed]))
    settings = {"workers": workers, "cancellation": Cancellation()}
    started_s = time.monotonic()
    if dice.random() < 0.7 and parallel_gzip.suits(packed[:4], len(packed), workers):
        inflater = ParallelInflater(len(packed), **settings)
        got = outcome(inflater.inflate(in_chunks(packed, pieces), lambda *_: None))
        assert got == expected or str(got).startswith("lost: "), (seed, name, damage, expected, got)
    else:
        got = outcome(
            parallel_gzip.inflate(
                lambda: in_chunks(packed, pieces),
                len(packed),
                on_checkpoint=lambda *_: None,
                on_lost=lambda _: None,
                **settings,
            )
        )
        assert got == expected, (seed, name, damage, expected, got)
    assert time.monotonic() - started_s < HANGS_S, (seed, name, damage)
    return damage.__name__, name, expected, str(got)


def seeds_until(deadline_s, seeds, lock):
    while time.monotonic() < deadline_s:
        with lock:
            seed = next(seeds, None)
        if seed is None:
            return
        yield seed


@pytest.mark.timeout((DURATION_S or SAME_S) + 2 * HANGS_S)
def test_damaged_archives_are_refused_and_good_ones_are_right(monkeypatch):
    monkeypatch.setattr(worker_protocol, "chunk_bytes", lambda _: CHUNK_BYTES)
    monkeypatch.setattr(parallel_gzip, "MIN_SIZE_BYTES", 1)
    deadline_s, lock = time.monotonic() + (DURATION_S or SAME_S), threading.Lock()
    seeds = count(FIRST_SEED) if DURATION_S else iter(range(FIRST_SEED, FIRST_SEED + SAME))

    def run(_):
        return [judge(seed) for seed in seeds_until(deadline_s, seeds, lock)]

    with ThreadPoolExecutor(AT_ONCE) as pool:
        verdicts = [verdict for part in pool.map(run, range(AT_ONCE)) for verdict in part]
    outcomes = Counter("damaged" if expected == "damaged" else "good" for _, _, expected, _ in verdicts)
    crashes = Counter(got for *_, got in verdicts if "process ended" in got or "did nothing" in got)
    lost = Counter(got.partition(":")[0] for *_, got in verdicts)
    print(f"\n{len(verdicts)} archives: {dict(outcomes)}; lost {lost['lost']}; crashes {dict(crashes)}")
    assert outcomes["damaged"] > len(verdicts) / 3
    assert outcomes["good"] > len(verdicts) / 20, outcomes
    assert {damage for damage, *_ in verdicts} == {damage.__name__ for damage in DAMAGES} or len(verdicts) < 100
    assert not inflating_processes()
    assert eventually(lambda: not feeding_threads())
