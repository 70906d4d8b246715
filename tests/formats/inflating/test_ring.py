import mmap
import os

import pytest

from hubfs.formats.inflating.protocol import Ring, anonymous_memory

SIZE = 2 * mmap.PAGESIZE


@pytest.fixture
def ring():
    descriptor = anonymous_memory("test", SIZE)
    ring = Ring(descriptor, SIZE)
    os.close(descriptor)
    yield ring
    ring.close()


def test_the_newest_bytes_are_read_back_however_they_were_cut(ring):
    stream = os.urandom(5 * SIZE + 77)
    position = 0
    for size in [1, SIZE, SIZE - 1, 100, SIZE // 2] * 3:
        part = memoryview(stream)[position : position + size]
        ring.write(position, part)
        position += len(part)
        for back in (1, size, SIZE, SIZE - 3):
            begin = max(0, position - back)
            assert ring.read(begin, position - begin) == stream[begin:position]


def test_slots_are_the_ring_in_equal_parts(ring):
    slots = ring.slots(SIZE // 4)
    assert len(slots) == 4
    slots[1][:5] = b"hello"
    assert ring.read(SIZE // 4, 5) == b"hello"
    assert ring.read(5 * SIZE // 4, 5) == b"hello"
    for slot in slots:
        slot.release()
    del slots


def test_two_mappings_are_one_memory():
    descriptor = anonymous_memory("test", SIZE)
    ring, other = Ring(descriptor, SIZE), Ring(descriptor, SIZE)
    ring.write(SIZE - 2, b"abcd")
    assert other.read(SIZE - 2, 4) == b"abcd"
    for each in (ring, other):
        each.close()
    os.close(descriptor)


def test_nobody_can_take_the_memory_from_under_the_other():
    descriptor = anonymous_memory("test", SIZE)
    with pytest.raises(PermissionError):
        os.ftruncate(descriptor, 0)
    os.close(descriptor)
