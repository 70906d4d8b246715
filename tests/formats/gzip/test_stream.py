import gzip
import io
import random
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubfs.errors import Damaged, Stale
from hubfs.formats.gzip.stream import CHUNK_SIZE_BYTES, inflate
from tests.support.archives import Feed, flipped, gzipped, in_chunks, without
from tests.support.examples import examples

NOISE = random.Random(2).randbytes(30_000)
TEXT = b"".join(b"line %d of a text\n" % number for number in range(2_000))
ALL_FIELDS = {"extra": b"\x01\x00extra", "name": b"model.tar", "comment": b"a comment", "header_checksum": True}


def inflated(*chunks):
    return b"".join(inflate(chunks))


@pytest.mark.parametrize("level", [0, 1, 6, 9])
@pytest.mark.parametrize("sizes", [(1,), (3, 1, 4096), (1 << 20,)])
def test_output_is_what_was_compressed_however_it_is_cut(level, sizes):
    data = TEXT + NOISE + TEXT
    assert inflated(*in_chunks(gzipped(data, level=level), *sizes)) == data


@examples(150)
@given(
    data=st.binary(max_size=2000),
    fields=st.fixed_dictionaries(
        {},
        optional={
            "extra": st.binary(max_size=300),
            "name": st.binary(max_size=30).map(lambda text: text.replace(b"\0", b"")),
            "comment": st.binary(max_size=30).map(lambda text: text.replace(b"\0", b"")),
            "header_checksum": st.booleans(),
        },
    ),
    sizes=st.lists(st.integers(1, 50), min_size=1, max_size=5),
)
def test_every_header_field_may_be_there_and_cut_anywhere(data, fields, sizes):
    packed = gzipped(data, **fields)
    assert gzip.decompress(packed) == data  # the archive is right by the standard library's judgement
    assert inflated(*in_chunks(packed, *sizes)) == data


def test_a_file_of_the_standard_library_is_read():
    packed = io.BytesIO()
    with gzip.GzipFile("model.tar", "wb", fileobj=packed) as archive:
        archive.write(TEXT)
    assert inflated(packed.getvalue()) == TEXT


@pytest.mark.parametrize("size", [1, 100, 1 << 20])
def test_several_members_are_one_output(size):
    packed = gzipped(TEXT) + gzipped(b"", **ALL_FIELDS) + gzipped(NOISE, name=b"x") + gzipped(TEXT, level=0)
    assert inflated(*in_chunks(packed, size)) == TEXT + NOISE + TEXT


def test_many_tiny_members_are_one_output():
    packed = gzipped(b"x") * 30_000
    assert inflated(packed) == b"x" * 30_000


@pytest.mark.parametrize("size", [1, 1 << 20])
def test_zeros_may_follow_a_member(size):
    packed = gzipped(TEXT)
    assert inflated(*in_chunks(packed + bytes(1000), size)) == TEXT
    assert inflated(*in_chunks(packed + bytes(100) + gzipped(NOISE), size)) == TEXT + NOISE


@pytest.mark.parametrize("size", [1, 1 << 20])
@pytest.mark.parametrize("garbage", [b"garbage", bytes(10) + b"x", b"\x1f\x8c", b"x"])
def test_anything_else_behind_a_member_is_refused(garbage, size):
    with pytest.raises(Damaged, match="followed by something else"):
        inflated(*in_chunks(gzipped(TEXT) + garbage, size))


@pytest.mark.parametrize("size", [1, 2, 100])
def test_what_is_not_gzip_passes_unchanged(size):
    for data in (NOISE, b"x", b"<!DOCTYPE html>", bytes(100), b"\x1f\x8c"):
        assert inflated(*in_chunks(data, size)) == data


def test_what_is_not_gzip_passes_in_bounded_chunks():
    chunks = list(inflate([bytes(5 * CHUNK_SIZE_BYTES)]))
    assert max(map(len, chunks)) <= CHUNK_SIZE_BYTES
    assert sum(map(len, chunks)) == 5 * CHUNK_SIZE_BYTES


@pytest.mark.parametrize("chunks", [(), (b"",), (b"", b"")])
def test_an_empty_input_is_damaged(chunks):
    with pytest.raises(Damaged, match="is empty"):
        inflated(*chunks)


def test_a_cut_at_any_byte_is_damaged():
    for packed in (gzipped(TEXT[:300], **ALL_FIELDS), gzipped(NOISE[:300]), gzipped(b"a") + gzipped(b"b")):
        whole_members = {gzipped(b"a")}
        for end in range(1, len(packed)):
            if packed[:end] not in whole_members:
                with pytest.raises(Damaged, match="ended early"):
                    inflated(packed[:end])


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        (-8, "checksum"),
        (-5, "checksum"),
        (-4, "checksum"),
        (-1, "checksum"),
        (2, "compression method"),
        (3, "reserved"),
    ],
)
def test_a_wrong_field_is_damaged_and_the_reason_says_which(place, reason):
    packed = gzipped(NOISE)
    for size in (1, 1 << 20):
        with pytest.raises(Damaged, match=reason):
            inflated(*in_chunks(flipped(packed, 8 * (len(packed) + place if place < 0 else place) + 7), size))


def test_a_wrong_header_checksum_is_damaged():
    packed = gzipped(TEXT, name=b"model.tar", header_checksum=True)
    with pytest.raises(Damaged, match="wrong header checksum"):
        inflated(packed.replace(b"model", b"modem"))


def test_a_header_without_an_end_is_damaged_before_it_fills_memory():
    feed = Feed([gzipped(b"", name=b"")[:10], *[b"x" * 65536] * 100])
    with pytest.raises(Damaged, match="does not end"):
        list(inflate(feed))
    assert feed.pulled < 10


def test_output_comes_as_soon_as_its_input_is_there():
    deflate = zlib.compressobj(wbits=31)
    first = deflate.compress(TEXT) + deflate.flush(zlib.Z_SYNC_FLUSH)
    feed = Feed([first, deflate.compress(NOISE) + deflate.flush()])
    output, seen = inflate(feed), b""
    while len(seen) < len(TEXT):
        seen += next(output)
    assert seen == TEXT
    assert feed.pulled == 1
    assert b"".join(output) == NOISE


@pytest.mark.slow
def test_a_bomb_comes_in_bounded_chunks_and_takes_bounded_memory():
    packed = gzipped(bytes(200 << 20), level=9)
    tracemalloc.start()
    try:
        sizes = [len(chunk) for chunk in inflate([packed])]
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sum(sizes) == 200 << 20
    assert max(sizes) <= CHUNK_SIZE_BYTES
    assert peak_bytes < 8 << 20


def test_errors_of_the_chunks_pass_through():
    def broken():
        yield gzipped(NOISE)[:1000]
        raise Stale("the origin changed")

    with pytest.raises(Stale, match="the origin changed"):
        list(inflate(broken()))


def outcome(packed, size):
    try:
        return inflated(*in_chunks(packed, size))
    except Damaged:
        return None


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_damage_anywhere_never_yields_other_bytes(seed):
    """Any other exception than `Damaged` fails here, too. Some bits mean nothing (a time stamp, padding)."""
    dice = random.Random(seed)
    data = dice.randbytes(700) + TEXT[:3000]
    packed = gzipped(data, level=dice.choice([0, 1, 6, 9]), name=b"model.tar") + gzipped(data)
    noticed = 0
    for _ in range(400):
        size = dice.choice([1, 50, len(packed)])
        # The magic is spared: without it the input is no gzip, and passes.
        bit = dice.randrange(16, 8 * len(packed))
        start, count = dice.randrange(2, len(packed)), dice.randrange(1, 400)
        patched = bytearray(packed)
        patched[start : start + count] = dice.randbytes(count)
        for damaged in (flipped(packed, bit), without(packed, start, count), bytes(patched)):
            result = outcome(damaged, size)
            assert result in (None, data + data) or damaged == packed[: len(gzipped(data, name=b"model.tar"))]
            noticed += result is None
    assert noticed > 1100
