import random

from hubfs.formats.byte_reader import ByteReader, Wanted
from tests.support.archives import Feed, in_chunks

DATA = random.Random(5).randbytes(1000)


def test_exact_reads_join_chunks_of_any_size():
    for sizes in ((1,), (7, 300), (1000,), (0, 13)):
        reader = ByteReader(in_chunks(DATA, *sizes))
        assert [reader.exactly(size) for size in (10, 490, 500)] == [DATA[:10], DATA[10:500], DATA[500:]]
        assert reader.exactly(10) == b""


def test_an_exact_read_is_short_only_at_the_end():
    reader = ByteReader(in_chunks(DATA, 64))
    reader.exactly(990)
    assert reader.exactly(11) == DATA[990:]
    assert reader.offset_bytes == 1000


def test_at_most_never_waits_for_more_than_the_first_byte():
    feed = Feed([b"", b"abc", b"def"])
    reader = ByteReader(feed)
    assert feed.pulled == 0
    assert reader.at_most(2) == b"ab"
    assert reader.at_most(100) == b"c"
    assert feed.pulled == 2
    assert reader.at_most(100) == b"def"
    assert reader.at_most(100) == b""


def test_a_whole_chunk_is_handed_out_without_a_copy():
    chunk = bytes(100)
    assert ByteReader([chunk]).at_most(100) is chunk


def test_bytes_that_were_given_back_are_read_again():
    reader = ByteReader([b"abcdef", b"gh"])
    assert reader.at_most(4) == b"abcd"
    reader.give_back(3)
    assert reader.offset_bytes == 1
    assert reader.exactly(7) == b"bcdefgh"


def test_zeros_are_passed_up_to_the_first_other_byte():
    for sizes in ((1,), (4096,), (5000,)):
        reader = ByteReader(in_chunks(bytes(10_000) + b"end", *sizes))
        reader.pass_zeros()
        assert (reader.offset_bytes, reader.exactly(10)) == (10_000, b"end")
        reader.pass_zeros()
        assert reader.exactly(1) == b""


def test_who_makes_chunks_is_told_what_is_missing_before_each():
    wanted, told = Wanted(), []

    def chunks():
        for chunk in (b"abc", b"defg", b"h"):
            told.append(wanted.size_bytes)
            yield chunk

    reader = ByteReader(chunks(), wanted)
    assert reader.exactly(5) == b"abcde"
    assert reader.at_most(2) == b"fg"
    assert reader.exactly(9) == b"h"
    assert told == [5, 2, 9]
