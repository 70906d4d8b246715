import bz2
import io
import lzma
import os
import random
import shutil
import subprocess
import tarfile
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubfs.errors import Damaged, Unavailable
from hubfs.formats import names
from hubfs.formats.gzip.stream import inflate
from hubfs.formats.tar import header as tar_header
from hubfs.formats.tar import walk as tar
from hubfs.formats.tar.walk import members
from tests.support.archives import (
    END_MARKER,
    ZEROS,
    Feed,
    base_256,
    directories_of,
    flipped,
    gnu_long_name,
    gzipped,
    header,
    in_chunks,
    member,
    model_files,
    padded,
    pax,
    tar_of,
    without,
)
from tests.support.examples import examples

FILES = model_files()
FORMATS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]
LONG_NAMES = {"d" * 60 + "/" + "n" * 99: b"1", "/".join(["deep" * 20] * 8) + "/file": b"2", "x" * 255: b"3"}


def unpacked(*chunks):
    """Files with their data and directories with None, as the archive has them."""
    found = {}
    for passing in members(inflate(chunks)):
        data = b"".join(passing.chunks())
        assert len(data) == passing.size_bytes
        found[passing.path] = None if passing.is_directory else data
    return found


def files_in(*chunks):
    return {path: data for path, data in unpacked(*chunks).items() if data is not None}


def refused(*chunks):
    """The reason why an archive is refused."""
    with pytest.raises(Damaged) as error:
        unpacked(*chunks)
    return str(error.value)


# ---------------------------------------------------------------- shapes


@pytest.mark.slow
@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("prefix", ["", "./"])
@pytest.mark.parametrize("directories", [True, False])
@pytest.mark.parametrize("size", [1, 511, 1 << 20])
def test_every_shape_of_archive_holds_the_same_files(format_, prefix, directories, size):
    packed = tar_of(FILES, format=format_, prefix=prefix, directories=directories)
    expected = FILES | (dict.fromkeys(directories_of(FILES)) if directories else {})
    assert unpacked(*in_chunks(packed, size)) == expected
    assert unpacked(*in_chunks(gzipped(packed), size)) == expected


def test_members_come_in_the_order_of_the_archive():
    for order in (list(FILES), list(reversed(FILES))):
        packed = tar_of({path: FILES[path] for path in order}, directories=False)
        assert [passing.path for passing in members([packed])] == order


@pytest.mark.parametrize("format_", ["v7", "oldgnu", "gnu", "ustar", "posix"])
@pytest.mark.parametrize("what", [".", "*"])
def test_archives_of_gnu_tar_are_read(tmp_path, format_, what):
    root = tmp_path / "model"
    for path, data in FILES.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
    tool = shutil.which("tar")
    assert tool is not None
    names = [what] if what == "." else sorted(path.name for path in root.iterdir())
    packed = subprocess.run([tool, f"--format={format_}", "-cC", root, *names], check=True, capture_output=True).stdout
    assert unpacked(packed) == FILES | dict.fromkeys(directories_of(FILES))


def test_times_that_gnu_tar_keeps_in_the_header_are_no_part_of_the_name(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model/file").write_bytes(b"data")
    arguments = ["tar", "--format=gnu", "--incremental", "-cC", tmp_path, "model/file"]
    packed = subprocess.run(arguments, check=True, capture_output=True).stdout
    assert packed[345:346].isdigit()  # where the prefix of a POSIX header is
    assert unpacked(packed) == {"model/file": b"data"}


@pytest.mark.parametrize("format_", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_names_longer_than_a_header_are_read(format_):
    assert files_in(tar_of(LONG_NAMES, format=format_)) == LONG_NAMES


def test_a_posix_prefix_is_part_of_the_name():
    name = "p" * 90 + "/" + "n" * 90
    assert files_in(tar_of({name: b"data"}, format=tarfile.USTAR_FORMAT)) == {name: b"data"}


@pytest.mark.parametrize("format_", FORMATS)
def test_names_in_any_language_are_read(format_):
    files = {"модель/重み.bin": b"1", "naïve": b"2", "with space\nand newline": b"3"}
    assert files_in(tar_of(files, format=format_)) == files


@pytest.mark.parametrize("name", [b"na\xefve", b"bad\xff\xfe/name", b"half\xed\xa0\x80", "\u540d".encode("shift_jis")])
def test_a_name_that_is_no_utf_8_keeps_its_bytes(name):
    for packed in (
        member(name, b"1"),
        gnu_long_name(name) + member(b"x", b"1"),
        pax({b"path": name}) + member(b"x", b"1"),
    ):
        found = files_in(packed + END_MARKER)
        assert found == {os.fsdecode(name): b"1"}
        assert [os.fsencode(path) for path in found] == [name]


@pytest.mark.parametrize("zeros", [1, 30, 5000])
def test_numbers_in_pax_may_have_zeros_in_front(zeros):
    length = len(b"%d size=4\n" % (zeros + 9)) + zeros
    packed = pax(b"0" * zeros + b"%d size=4\n" % length) + header(b"a") + padded(b"data")
    assert unpacked(packed + END_MARKER) == {"a": b"data"}
    packed = pax({b"size": b"0" * zeros + b"4"}) + header(b"a") + padded(b"data")
    assert unpacked(packed + END_MARKER) == {"a": b"data"}


def test_names_are_normalised():
    packed = member(b"./a//b/./c", b"1") + member(b"././d", b"2") + member(b"e/f/", kind=tarfile.DIRTYPE)
    assert unpacked(packed + END_MARKER) == {"a/b/c": b"1", "d": b"2", "e/f": None}


def test_the_root_is_no_member():
    roots = b"".join(member(name, kind=kind) for name in (b".", b"./", b"./.") for kind in (b"5", b"0"))
    assert unpacked(roots + member(b"a", b"1") + END_MARKER) == {"a": b"1"}


@pytest.mark.parametrize("kind", [tarfile.AREGTYPE, tarfile.REGTYPE])
def test_a_slash_at_the_end_of_an_old_name_means_a_directory(kind):
    packed = member(b"dir/", kind=kind, magic=b"") + member(b"dir/file", b"data", kind=kind, magic=b"")
    assert unpacked(packed + END_MARKER) == {"dir": None, "dir/file": b"data"}


@pytest.mark.parametrize("whole_name", [gnu_long_name(b"d/file"), pax({b"path": b"d/file"})], ids=["GNU", "PAX"])
@pytest.mark.parametrize("data", [b"", b"data"])
def test_an_old_file_whose_name_is_cut_behind_a_slash_is_a_file(whole_name, data):
    packed = whole_name + member(b"d/", data, kind=tarfile.AREGTYPE) + END_MARKER
    assert unpacked(packed) == {"d/file": data}
    names = subprocess.run(
        ["tar", "tf", "-"], input=packed, stdout=subprocess.PIPE, check=True
    ).stdout  # GNU's, as hubfs
    assert names == b"d/file\n"


def test_a_directory_may_come_twice_and_after_its_files():
    directory = member(b"a/b", kind=tarfile.DIRTYPE)
    assert unpacked(member(b"a/b/c", b"1") + directory + directory + END_MARKER) == {"a/b/c": b"1", "a/b": None}


def test_a_file_that_comes_twice_is_told_twice():
    packed = member(b"a", b"1") + member(b"b", b"2") + member(b"./a", b"three") + END_MARKER
    found = [(one.path, b"".join(one.chunks())) for one in members([packed])]
    assert found == [("a", b"1"), ("b", b"2"), ("a", b"three")]


def test_pax_records_that_say_nothing_about_bytes_are_ignored():
    packed = pax({b"comment": b"a commit"}, tarfile.XGLTYPE) + pax({b"mtime": b"1.5", b"SCHILY.xattr.user.a": b"\n=\0"})
    assert unpacked(packed + member(b"a", b"data") + END_MARKER) == {"a": b"data"}


def test_a_pax_path_and_size_win_over_the_header():
    packed = pax({b"path": b"long/name", b"size": b"4"}) + header(b"short", size=0) + padded(b"data")
    assert unpacked(packed + member(b"next", b"1") + END_MARKER) == {"long/name": b"data", "next": b"1"}


def test_a_pax_header_may_end_in_zeros():
    assert unpacked(pax(b"10 path=a\n" + bytes(20)) + member(b"b", b"1") + END_MARKER) == {"a": b"1"}


def test_a_size_may_be_a_binary_number():
    packed = header(b"a", size=base_256(4)) + padded(b"data")
    assert unpacked(packed + END_MARKER) == {"a": b"data"}


def test_a_size_of_many_gigabytes_is_announced_at_once():
    passing = next(members([header(b"weights", size=base_256(200 << 30)), b"first"]))
    assert passing.size_bytes == 200 << 30
    assert next(passing.chunks()) == b"first"


def test_one_zero_block_ends_an_archive_and_what_follows_is_read_and_ignored():
    feed = Feed([member(b"a", b"1") + ZEROS, b"anything", member(b"b", b"2")])
    assert unpacked(*feed) == {"a": b"1"}
    feed.pulled = 0
    assert [passing.path for passing in members(feed)] == ["a"]
    assert feed.pulled == 3


@examples(100)
@given(
    files=st.dictionaries(
        st.lists(
            st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=60),
            min_size=1,
            max_size=4,
        )
        .filter(lambda parts: not {".", ".."} & set(parts))
        .map("/".join),
        st.binary(max_size=1500),
        max_size=6,
    ).filter(lambda files: files and not set(files) & set(directories_of(files))),
    format_=st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
    sizes=st.lists(st.integers(1, 2000), min_size=1, max_size=4),
)
def test_whatever_tarfile_packs_is_unpacked(files, format_, sizes):
    assert files_in(*in_chunks(tar_of(files, format=format_), *sizes)) == files


# ---------------------------------------------------------------- as they pass


def test_a_member_is_delivered_before_anything_behind_it_is_pulled():
    blocks = [header(b"a", size=700), bytes(512), bytes(512), header(b"b", size=3), padded(b"123"), END_MARKER]
    feed = Feed(blocks)
    passing = members(feed)
    first = next(passing)
    assert feed.pulled == 1
    assert b"".join(first.chunks()) == bytes(700)
    assert feed.pulled == 3
    second = next(passing)
    assert second.path == "b"
    assert feed.pulled == 4


def test_a_compressed_member_is_delivered_before_the_rest_has_come():
    noise = random.Random(1).randbytes(300_000)
    packed = gzipped(tar_of({"first": noise, "second": noise}))
    pieces = list(in_chunks(packed, 1000))
    feed = Feed(pieces)
    first = next(members(inflate(feed)))
    assert b"".join(first.chunks()) == noise
    assert feed.pulled < 0.52 * len(pieces)


def test_bytes_that_nobody_reads_are_skipped():
    packed = tar_of(FILES, directories=False)
    assert [passing.path for passing in members([packed])] == list(FILES)
    for passing in members([packed]):
        for _ in passing.chunks():
            break
    assert passing.path == list(FILES)[-1]


def test_chunks_go_on_where_the_last_call_stopped():
    passing = next(members([header(b"a", size=6), b"abc", b"def"]))
    assert next(passing.chunks()) == b"abc"
    assert next(passing.chunks()) == b"def"
    assert list(passing.chunks()) == []


def test_bytes_that_have_passed_are_an_error_and_not_a_short_file():
    iterator = members(in_chunks(tar_of(FILES, directories=False), 1000))
    first = next(iterator)
    begun = first.chunks()
    next(begun)
    next(iterator)
    for late in (begun, first.chunks()):
        with pytest.raises(RuntimeError, match="have passed"):
            next(late)


def test_chunks_are_bounded():
    packed = tar_of({"weights": bytes(3 * tar.CHUNK_SIZE_BYTES + 5)})
    sizes = [len(chunk) for passing in members([packed]) for chunk in passing.chunks()]
    assert max(sizes) <= tar.CHUNK_SIZE_BYTES
    assert sum(sizes) == 3 * tar.CHUNK_SIZE_BYTES + 5


def test_errors_of_the_chunks_pass_through():
    def broken():
        yield header(b"a", size=1000)
        yield bytes(100)
        raise Unavailable("the host is gone")

    with pytest.raises(Unavailable, match="the host is gone"):
        list(members(broken()))
    with pytest.raises(Unavailable, match="the host is gone"):
        list(next(members(broken())).chunks())


# ---------------------------------------------------------------- refused


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        (tarfile.SYMTYPE, "a symbolic link"),
        (tarfile.LNKTYPE, "a hard link"),
        (tarfile.CHRTYPE, "a character device"),
        (tarfile.BLKTYPE, "a block device"),
        (tarfile.FIFOTYPE, "a named pipe"),
        (b"D", "unknown type b'D'"),
        (b"V", "unknown type b'V'"),
    ],
)
def test_what_is_neither_file_nor_directory_is_refused(kind, what):
    reason = refused(member(b"good", b"1") + member(b"evil", kind=kind, link=b"/etc/passwd") + END_MARKER)
    assert "'evil'" in reason
    assert what in reason


def test_a_link_with_a_long_target_is_refused_by_its_own_name():
    packed = member(b"././@LongLink", b"t" * 300 + b"\0", kind=tarfile.GNUTYPE_LONGLINK)
    assert "'evil' is a symbolic link" in refused(packed + member(b"evil", kind=tarfile.SYMTYPE) + END_MARKER)


SHORT_BAD_NAMES = [
    (b"/etc/passwd", "absolutely"),
    (b"//etc/passwd", "absolutely"),
    (b"../up", "'..'"),
    (b"a/../../up", "'..'"),
    (b"a/..", "'..'"),
    (b"", "empty name"),
]
LONG_BAD_NAMES = [
    (b"nul\0name", "NUL"),
    (b"n" * 256, "more than 255 bytes"),
    (b"/".join([b"n" * 200] * 30), "4096"),
]


@pytest.mark.parametrize(("name", "what"), SHORT_BAD_NAMES)
def test_a_name_that_a_model_must_not_have_is_refused(name, what):
    assert what in refused(member(name, b"1") + END_MARKER)


@pytest.mark.parametrize(("name", "what"), SHORT_BAD_NAMES + LONG_BAD_NAMES)
def test_such_a_name_is_refused_in_an_extended_header_too(name, what):
    for extended in (gnu_long_name(name), pax({b"path": name}), pax({b"path": name}, tarfile.XGLTYPE)):
        reason = refused(extended + member(b"short", b"1") + END_MARKER)
        assert what in reason
        assert len(reason) < 1000  # a message shows a hostile name in part


@pytest.mark.parametrize(
    ("packed", "reason"),
    [
        (member(b"a", b"1") + member(b"a", kind=b"5"), "'a' is both"),
        (member(b"a", kind=b"5") + member(b"a", b"1"), "'a' is both"),
        (member(b"a", b"1") + member(b"a/b", b"2"), "'a/b' lies below 'a'"),
        (member(b"a", b"1") + member(b"a/b/c", kind=b"5"), "'a/b/c' lies below 'a'"),
        (member(b"a/b/c", b"1") + member(b"a/b", b"2"), "'a/b' is both"),
        (member(b"a/b/c", b"1") + member(b"a", b"2"), "'a' is both"),
    ],
)
def test_a_name_that_changes_its_kind_is_refused(packed, reason):
    assert reason in refused(packed + END_MARKER)


@pytest.mark.parametrize(
    "size", [base_256(-1), base_256(1 << 60), base_256((1 << 88) - 1), base_256((1 << 44) + 1), b"-0000000001\0"]
)
def test_an_impossible_size_is_refused(size):
    assert "'a' has an impossible size" in refused(header(b"a", size=size), END_MARKER)


@pytest.mark.parametrize("size", [b"-1", b"1e9", b"", b" 1", b"1_0", b"9" * 5000, b"\xd9\xa1"])
def test_a_pax_size_that_is_not_a_number_is_refused(size):
    assert "size that is not a number" in refused(pax({b"size": size}) + header(b"a") + END_MARKER)


def test_a_size_that_is_not_a_number_is_refused():
    assert "corrupt" in refused(member(b"b", b"1") + header(b"a", size=b"what is this") + END_MARKER)


def test_a_directory_with_data_is_refused():
    # Some readers skip this data and others do not: they would see different members.
    for kind, name in ((tarfile.DIRTYPE, b"d"), (tarfile.REGTYPE, b"d/"), (tarfile.AREGTYPE, b"d/")):
        assert "is a directory, but has 512 bytes" in refused(header(name, kind=kind, size=512) + ZEROS + END_MARKER)


@pytest.mark.parametrize(
    "records",
    [
        b"junk",
        b"8 path=a\n",
        b"11 path=a\n",
        b"0 path=a\n",
        b"7 path=\n\n",
        b"10 path=a\n3",
        b"99999999 path=a\n",
        b"5 =a\n",
    ],
)
def test_a_broken_pax_record_is_refused(records):
    assert "PAX header is corrupt" in refused(pax(records) + member(b"a", b"1") + END_MARKER)


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK])
@pytest.mark.parametrize("size", [4 << 30, -1])
def test_an_extended_header_of_hostile_size_is_refused_unread(kind, size):
    feed = Feed([header(b"x", kind=kind, size=base_256(size)), *[bytes(1 << 20)] * 8])
    with pytest.raises(Damaged, match="extended header"):
        list(members(feed))
    assert feed.pulled == 1


def test_extended_headers_without_end_are_refused():
    feed = Feed([pax({b"comment": b"c" * 10_000})] * 1000)
    with pytest.raises(Damaged, match="extended header"):
        list(members(feed))
    assert feed.pulled < 110


def test_records_are_taken_as_many_as_a_member_may_have_in_all_of_its_headers():
    half = b"7 a=bc\n" * (tar_header.MAX_PAX_RECORDS // 2)
    full = pax(half) + pax(half, tarfile.XGLTYPE)
    assert unpacked((full + member(b"a", b"1")) + (full + member(b"b", b"2")) + END_MARKER) == {"a": b"1", "b": b"2"}
    assert f"at most {tar_header.MAX_PAX_RECORDS}" in refused(
        full + pax({b"mtime": b"1"}) + member(b"a", b"1") + END_MARKER
    )


def test_an_extended_header_that_no_member_follows_is_refused():
    for extended in (pax({b"path": b"a"}), gnu_long_name(b"a")):
        assert "before the member it belongs to" in refused(member(b"b", b"1") + extended + END_MARKER)


def test_too_many_members_are_refused(monkeypatch):
    monkeypatch.setattr(names, "MAX_MEMBERS", 50)
    for packed in (
        [member(b"%d" % number) for number in range(51)],
        [member(b"d", kind=b"5")] * 51,
        [member(b"/".join([b"%d" % number, *[b"d"] * 9])) for number in range(6)],
    ):
        assert "too many members" in refused(*packed, END_MARKER)
    assert len(unpacked(*[member(b"%d" % number) for number in range(50)], END_MARKER)) == 50


def test_names_that_would_fill_memory_are_refused():
    def hostile():
        for number in range(100_000):
            yield gnu_long_name(b"%06d/" % number + b"/".join([b"d" * 30] * 100)) + header(b"short")

    tracemalloc.start()
    try:
        with pytest.raises(Damaged, match="the names in the archive are too long"):
            for _ in members(hostile()):
                pass
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 4 * names.MAX_NAMES_BYTES


def test_what_is_no_archive_is_named():
    assert "neither gzip nor tar: it begins with b'<!DOCTYPE html>" in refused(b"<!DOCTYPE html>" + b" " * 600)
    assert "neither gzip nor tar" in refused(gzipped(random.Random(3).randbytes(1000)))
    assert "or it is no archive at all: it begins with b'version https://'" in refused(
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"
    )
    advice = "; pack it with `tar -cz`"
    assert refused(lzma.compress(tar_of(FILES))).endswith(f", as xz does{advice}")
    assert refused(lzma.compress(b"little")).endswith(f", as xz does{advice}")
    assert refused(bz2.compress(tar_of(FILES))).endswith(f", as bzip2 does{advice}")
    assert refused(gzipped(gzipped(random.Random(3).randbytes(1000)))).endswith(
        f", as what was compressed twice does{advice}"
    )


# ---------------------------------------------------------------- damage


def test_an_archive_of_nothing_is_damaged():
    assert "is empty" in refused()
    assert "no members" in refused(END_MARKER)
    assert "no members" in refused(gzipped(bytes(10_240)))
    assert "without an end marker" in refused(gzipped(b""))


@pytest.mark.slow
@pytest.mark.parametrize("format_", FORMATS)
def test_a_cut_anywhere_before_the_end_marker_is_damaged(format_):
    files = {"a": b"1" * 700, "dir/b": b"", "naïve": b"2" * 512}
    packed = tar_of(files, format=format_)
    content_bytes = len(packed.rstrip(b"\0")) + 511 & ~511
    for end in range(content_bytes + 512):
        assert "early" in refused(packed[:end]) or end == 0
    assert files_in(packed[: content_bytes + 512]) == files


def test_the_reason_for_a_cut_says_where():
    packed = member(b"a", b"1" * 700) + member(b"b", b"2") + END_MARKER
    assert "200 bytes of member 'a' are missing" in refused(packed[:1012])
    assert "without an end marker" in refused(packed[:1536])
    assert "inside a header" in refused(packed[:1600])


def test_a_corrupt_header_is_not_taken_for_the_end():
    packed = tar_of(FILES, directories=False)
    second = 512 + (len(FILES["assets/vocab.txt"]) + 511 & ~511)
    damaged = flipped(packed, second * 8)
    with tarfile.open(fileobj=io.BytesIO(damaged), mode="r|") as archive:
        assert archive.getnames() == ["assets/vocab.txt"]  # which is why the walk is not left to tarfile
    reason = f"the header at byte {second} of the archive, behind member 'assets/vocab.txt' is corrupt"
    assert reason in refused(damaged)


def test_an_archive_without_an_end_marker_is_whole_where_its_end_was_verified():
    packed = tar_of(FILES, directories=False).rstrip(b"\0")
    packed += bytes(-len(packed) % 512)
    with pytest.raises(Damaged, match=r"without an end marker, behind member 'saved_model.pb'"):
        list(members([packed]))
    assert [one.path for one in members([packed], is_verified=lambda: True)] == list(FILES)
    with pytest.raises(Damaged, match="inside a header"):
        list(members([packed + b"more"], is_verified=lambda: True))
    with pytest.raises(Damaged, match=r"bytes of member 'saved_model\.pb' are missing"):
        list(members([packed[:-1000]], is_verified=lambda: True))
    with pytest.raises(Damaged, match="before the member it belongs to"):
        list(members([packed + pax({b"path": b"a"})], is_verified=lambda: True))
    with pytest.raises(Damaged, match="without an end marker"):
        list(members([], is_verified=lambda: True))


def test_a_wrong_checksum_behind_the_end_marker_is_noticed():
    packed = gzipped(tar_of(FILES))
    assert "checksum" in refused(flipped(packed, 8 * (len(packed) - 5)))


def outcome(packed):
    try:
        return unpacked(*in_chunks(packed, 4096))
    except Damaged:
        return None


@pytest.mark.parametrize("seed", range(3))
def test_damage_to_a_compressed_archive_never_yields_another_model(seed):
    """Any other exception than `Damaged` fails here, too."""
    dice = random.Random(seed)
    files = model_files(seed, variables_bytes=3000)
    packed = gzipped(tar_of(files, directories=False, format=dice.choice(FORMATS)), name=b"model.tar")
    noticed = 0
    for _ in range(300):
        start, count = dice.randrange(len(packed)), dice.randrange(1, 600)
        cut = packed[: dice.randrange(len(packed))]
        for damaged in (flipped(packed, dice.randrange(8 * len(packed))), without(packed, start, count), cut):
            result = outcome(damaged)
            # Some bits of the gzip header mean nothing: a time stamp, the archive's own name.
            assert result in (None, files)
            noticed += result is None
    assert noticed > 850


@pytest.mark.slow
@pytest.mark.parametrize("format_", FORMATS)
def test_a_wrong_bit_in_a_plain_tar_changes_nothing_but_the_data_it_hits(format_):
    dice = random.Random(format_)
    files = {path: data[:900] for path, data in FILES.items()}
    packed = tar_of(files, directories=False, format=format_)
    noticed = 0
    for _ in range(1500):
        result = outcome(flipped(packed, dice.randrange(8 * len(packed))))
        noticed += result is None
        if result is not None:
            assert list(result) == list(files)
            wrong_bytes = [got != sent for path in files for got, sent in zip(result[path], files[path], strict=True)]
            assert sum(wrong_bytes) <= 1
    assert noticed > 300


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_a_plain_tar_with_bytes_missing_or_overwritten_raises_nothing_but_damaged(seed):
    dice = random.Random(seed)
    packed = tar_of(FILES | LONG_NAMES, format=dice.choice(FORMATS[1:]))
    for _ in range(300):
        start, count = dice.randrange(len(packed)), dice.randrange(1, 2000)
        patched = bytearray(packed)
        patched[start : start + count] = dice.randbytes(count)
        for damaged in (without(packed, start, count), bytes(patched)):
            result = outcome(damaged)
            assert result is None or all(isinstance(path, str) for path in result)


@examples(300)
@given(
    blocks=st.lists(
        st.builds(
            member,
            st.binary(max_size=100),
            st.binary(max_size=600),
            kind=st.sampled_from([b"0", b"\0", b"1", b"2", b"5", b"7", b"x", b"g", b"L", b"K", b"S", b"X", b"\xff"]),
            magic=st.sampled_from([b"ustar\x0000", b"ustar  \0", b""]),
            prefix=st.binary(max_size=155),
            size=st.one_of(st.integers(0, 1200), st.binary(min_size=12, max_size=12)),
        ),
        max_size=5,
    )
)
def test_hostile_headers_raise_nothing_but_damaged(blocks):
    for path in outcome(b"".join(blocks) + END_MARKER) or ():
        assert path == "/".join(part for part in path.split("/") if part not in ("", ".", ".."))
        assert "\0" not in path
