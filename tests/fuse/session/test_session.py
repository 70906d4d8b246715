"""The session, asked as the kernel asks, over a socket: the tree is real, over a model that is in memory."""

import errno
import os
import stat
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from hubfs.errors import Stale
from hubfs.fuse.answers import Answers
from hubfs.fuse.attributes import inode
from hubfs.fuse.mounting import Timeouts
from hubfs.fuse.passthrough import Passthrough
from hubfs.fuse.session import protocol
from hubfs.fuse.session.handlers import Handlers
from hubfs.fuse.session.nodes import NodeTable
from hubfs.fuse.session.protocol import Init, Opcode, Open
from hubfs.fuse.session.session import Session
from hubfs.testing import MemorySource
from hubfs.tree.open_file import OpenFile
from tests.support.calls import calls_of
from tests.support.fuse_kernel import OFFERED, Kernel, served
from tests.support.one_model import FILES, LINK, ROOT, Cache, OneModel, answers_of, fresh_source
from tests.support.waiting import eventually

GRAPH = f"{ROOT}/saved_model.pb"

Serve = Callable[[bytes], AbstractContextManager[Kernel]]


@pytest.fixture
def models() -> OneModel:
    return OneModel()


@pytest.fixture
def cache() -> Cache:
    return Cache()


@pytest.fixture
def answers(models: OneModel, cache: Cache, tmp_path: Path) -> Answers:
    return answers_of(models, cache, tmp_path)


@pytest.fixture
def table() -> Iterator[NodeTable]:
    table = NodeTable()
    yield table
    table.close()


@pytest.fixture
def kernel(answers: Answers, table: NodeTable) -> Iterator[Kernel]:
    with served(answers, table) as (kernel, _):
        kernel.initialize()
        yield kernel


def entry(kernel: Kernel, node_id: int, name: str) -> tuple[int, ...]:
    return protocol.ENTRY_OUT.unpack(kernel.given(Opcode.LOOKUP, node_id, os.fsencode(name) + b"\0"))


def opened(kernel: Kernel, node_id: int, flags: int = os.O_RDONLY) -> tuple[int, int, int]:
    handle, how, backing_id = protocol.OPEN_OUT.unpack(
        kernel.given(Opcode.OPEN, node_id, protocol.OPEN_IN.pack(flags, 0))
    )
    return handle, how, backing_id


def read(kernel: Kernel, node_id: int, handle: int, offset: int, size: int) -> bytes:
    return kernel.given(Opcode.READ, node_id, protocol.READ_IN.pack(handle, offset, size, 0, 0, 0, 0))


def release(kernel: Kernel, node_id: int, handle: int) -> None:
    kernel.given(Opcode.RELEASE, node_id, protocol.RELEASE_IN.pack(handle, 0, 0, 0))


def listing(kernel: Kernel, node_id: int, size: int = 4096, *, plus: bool = True) -> list[tuple[str, int, int, int]]:
    """(name, inode, type, node id) of every entry."""
    handle, *_ = protocol.OPEN_OUT.unpack(kernel.given(Opcode.OPENDIR, node_id, protocol.OPEN_IN.pack(0, 0)))
    found, offset = [], 0
    while True:
        request = protocol.READ_IN.pack(handle, offset, size, 0, 0, 0, 0)
        data = kernel.given(Opcode.READDIRPLUS if plus else Opcode.READDIR, node_id, request)
        assert len(data) <= size
        if not data:
            break
        at = 0
        while at < len(data):
            node = 0
            if plus:
                node = protocol.ENTRY_OUT.unpack_from(data, at)[0]
                at += protocol.ENTRY_OUT.size
            number, offset, length, kind = protocol.DIRENT.unpack_from(data, at)
            at += protocol.DIRENT.size
            found.append((os.fsdecode(data[at : at + length]), number, kind, node))
            at += length + -length % 8
    kernel.given(Opcode.RELEASEDIR, node_id, protocol.RELEASE_IN.pack(handle, 0, 0, 0))
    return found


def test_init_agrees_on_what_both_sides_have(answers: Answers, table: NodeTable) -> None:
    agreed: list[Init] = []
    with served(answers, table, on_agreed=agreed.append) as (kernel, _):
        reply = protocol.INIT_OUT.unpack(kernel.initialize(OFFERED & ~Init.DO_READDIRPLUS | Init.PASSTHROUGH))
    major, minor, readahead, flags, background, congested, max_write, gran, pages, _, flags2, depth, _ = reply
    assert (major, minor, readahead, gran, pages, depth) == (7, 45, 1 << 20, 1, 256, 0)
    assert background > congested > 12
    assert max_write + 80 <= protocol.MIN_READ_BUFFER
    both = Init(flags | flags2 << 32)
    assert Init.PARALLEL_DIROPS | Init.ASYNC_READ | Init.HAS_RESEND in both
    assert not both & (Init.DO_READDIRPLUS | Init.PASSTHROUGH)
    assert agreed == [both]
    assert table.agreed == both


def test_passthrough_is_agreed_on_only_if_it_is_asked_for(answers: Answers) -> None:
    with served(answers, passthrough=Passthrough(None, 2)) as (kernel, _):
        *_, flags2, depth, _ = protocol.INIT_OUT.unpack(kernel.initialize(OFFERED | Init.PASSTHROUGH))
        assert (flags2 << 32 & Init.PASSTHROUGH, depth) == (Init.PASSTHROUGH, 2)
    with served(answers, passthrough=Passthrough(None, 2)) as (kernel, _):
        *_, flags2, depth, _ = protocol.INIT_OUT.unpack(kernel.initialize())
        assert (flags2 << 32 & Init.PASSTHROUGH, depth) == (0, 0)
    with served(answers, passthrough=Passthrough("it is refused", 2)) as (kernel, _):
        *_, flags2, depth, _ = protocol.INIT_OUT.unpack(kernel.initialize(OFFERED | Init.PASSTHROUGH))
        assert (flags2 << 32 & Init.PASSTHROUGH, depth) == (0, 0)


def test_an_old_kernel_gets_what_it_knows_and_one_that_is_too_old_an_error(answers: Answers) -> None:
    with served(answers) as (kernel, _):
        body = protocol.INIT_IN.pack(7, 31, 1 << 17, 0x7FFF_FFFF & ~Init.INIT_EXT)
        reply = protocol.INIT_OUT.unpack(kernel.given(Opcode.INIT, 0, body))
        assert reply[:2] == (7, 31)
        assert reply[10] == 0
        assert kernel.ask(Opcode.INIT, 0, protocol.INIT_IN.pack(7, 12, 0, 0))[0] == errno.EPROTO
        assert kernel.ask(Opcode.INIT, 0, b"\7")[0] == errno.EPROTO
        assert protocol.INIT_OUT.unpack(kernel.given(Opcode.INIT, 0, protocol.INIT_IN.pack(8, 0, 0, 0)))[:2] == (7, 45)


def test_a_lookup_tells_of_a_node_and_of_attributes_for_as_long_as_they_hold(kernel: Kernel) -> None:
    model = kernel.look_up(ROOT)
    node_id, _, entry_s, attr_s, _, attr_ns, number, size, *rest = entry(kernel, model, "saved_model.pb")
    assert node_id > 1
    assert (entry_s, attr_s, attr_ns, size) == (100, 50, 250_000_000, 500)
    assert number == inode(GRAPH)
    mode, links, uid, gid = rest[7:11]
    assert (mode, links, uid, gid) == (stat.S_IFREG | 0o444, 1, 1, 2)
    assert entry(kernel, model, "saved_model.pb")[0] == node_id
    family = kernel.look_up("/google/spice")
    _, _, entry_s, attr_s, *_ = entry(kernel, family, "latest")
    assert (entry_s, attr_s) == (100, 1), "an alias moves"


def test_a_name_that_does_not_exist_is_believed_for_some_seconds(kernel: Kernel) -> None:
    node_id, _, entry_s, *_ = entry(kernel, kernel.look_up(ROOT), "nothing")
    assert (node_id, entry_s) == (0, 5)
    assert kernel.ask(Opcode.LOOKUP, 1, b"x" * 300 + b"\0")[0] in {errno.ENAMETOOLONG, 0}
    assert kernel.ask(Opcode.LOOKUP, kernel.look_up(ROOT), b"x" * 300 + b"\0")[0] == errno.ENAMETOOLONG
    assert kernel.ask(Opcode.LOOKUP, kernel.look_up("/down/model"), b"1\0")[0] == errno.EHOSTUNREACH


def test_the_log_names_the_path_that_was_asked_for(kernel: Kernel, caplog: pytest.LogCaptureFixture) -> None:
    down = kernel.look_up("/down/model")
    assert kernel.ask(Opcode.LOOKUP, down, b"1\0")[0] == errno.EHOSTUNREACH
    assert kernel.ask(Opcode.LOOKUP, 999, b"1\0")[0] == errno.ESTALE
    assert [record.getMessage().split(":")[0] for record in caplog.records] == [
        "lookup /down/model/1",
        "lookup node 999",
    ]


def test_attributes_of_a_node(kernel: Kernel) -> None:
    node_id = kernel.look_up(GRAPH)
    attr_s, _, _, number, size, *_ = protocol.ATTR_OUT.unpack(kernel.given(Opcode.GETATTR, node_id, bytes(16)))
    assert (attr_s, number, size) == (50, inode(GRAPH), 500)
    found = protocol.STATX_OUT.unpack(kernel.given(Opcode.STATX, node_id, protocol.STATX_IN.pack(0, 0, 0, 0, 0xFFF)))
    mask, blksize, _, links, uid, gid, mode, number, size = found[3:12]
    assert (mask, links, uid, gid) == (0xFFF, 1, 1, 2)
    assert (mode, number, size, blksize) == (stat.S_IFREG | 0o444, inode(GRAPH), 500, 1 << 20)
    birth = found[17:19]
    assert birth[0] > 1_600_000_000
    assert kernel.ask(Opcode.GETATTR, 999, bytes(16))[0] == errno.ESTALE


def test_a_file_is_opened_read_and_released(kernel: Kernel, cache: Cache, table: NodeTable) -> None:
    node_id = kernel.look_up(GRAPH)
    handle, how, backing_id = opened(kernel, node_id)
    assert (how & ~Open.NOFLUSH, backing_id) == (Open.KEEP_CACHE, 0), "who else opens it may be reading already"
    assert read(kernel, node_id, handle, 495, 100) == b"graph"
    assert read(kernel, node_id, handle, 500, 100) == b""
    assert read(kernel, node_id, handle, 0, 1 << 20) == FILES["saved_model.pb"]
    again, how, _ = opened(kernel, node_id)
    assert how & Open.KEEP_CACHE
    assert table[node_id].opens == 2
    assert len(cache.held) == 2
    for each in (handle, again):
        release(kernel, node_id, each)
    assert cache.released == cache.held
    assert table[node_id].opens == 0
    assert kernel.ask(Opcode.OPEN, node_id, protocol.OPEN_IN.pack(os.O_RDWR, 0))[0] == errno.EROFS


def test_control_files_have_no_pages(kernel: Kernel) -> None:
    node_id = kernel.look_up("/.hubfs/version")
    handle, how, _ = opened(kernel, node_id)
    assert how & Open.DIRECT_IO
    assert read(kernel, node_id, handle, 0, 100) == b"1.2.3\n"


def test_a_file_that_was_replaced_gets_a_node_of_its_own(kernel: Kernel, models: OneModel, table: NodeTable) -> None:
    model = kernel.look_up(ROOT)
    before = entry(kernel, model, "saved_model.pb")[0]
    handle, *_ = opened(kernel, before)
    models.source = fresh_source()
    assert kernel.ask(Opcode.OPEN, before, protocol.OPEN_IN.pack(0, 0))[0] == errno.ESTALE
    after = entry(kernel, model, "saved_model.pb")[0]
    assert after != before
    _, how, _ = opened(kernel, after)
    assert how & Open.KEEP_CACHE, "it has no pages but its own"
    assert read(kernel, before, handle, 0, 5) == b"graph", "what is open stays as it was"


def longer_source(models: OneModel) -> MemorySource:
    """The same model, found anew, with a longer graph."""
    return MemorySource({**FILES, "saved_model.pb": b"longer" * 100}, handle=models.source.handle)


def size_of(attributes: bytes) -> int:
    return int(protocol.ATTR_OUT.unpack(attributes)[4])


def test_a_file_of_which_the_kernel_knows_another_size_is_opened_by_a_node_of_its_own(
    kernel: Kernel, models: OneModel
) -> None:
    """Nobody had it open: but a reader was told its size, and the kernel would end its reads there."""
    before = kernel.look_up(GRAPH)
    models.source = longer_source(models)
    assert kernel.ask(Opcode.OPEN, before, protocol.OPEN_IN.pack(0, 0))[0] == errno.ESTALE
    after = kernel.look_up(GRAPH)
    assert after != before
    assert size_of(kernel.given(Opcode.GETATTR, after, bytes(16))) == 600
    assert read(kernel, after, opened(kernel, after)[0], 0, 1000) == b"longer" * 100


def test_a_file_that_was_replaced_gets_a_node_of_its_own_from_the_next_look_on(
    kernel: Kernel, models: OneModel, table: NodeTable
) -> None:
    before, folder = kernel.look_up(GRAPH), kernel.look_up(f"{ROOT}/variables")
    handle, *_ = opened(kernel, before)
    listed = {name: node for name, _, _, node in listing(kernel, kernel.look_up(ROOT))}
    assert listed["saved_model.pb"] == before
    models.source = longer_source(models)
    listed = {name: node for name, _, _, node in listing(kernel, kernel.look_up(ROOT))}
    assert listed["saved_model.pb"] == kernel.look_up(GRAPH) != before
    assert kernel.ask(Opcode.GETATTR, before, bytes(16))[0] == errno.ESTALE
    assert kernel.ask(Opcode.STATX, before, bytes(24))[0] == errno.ESTALE
    assert kernel.ask(Opcode.GETATTR, folder, bytes(16))[0] == 0, "a directory is what it was"
    assert read(kernel, before, handle, 0, 5) == b"graph"


def test_the_kernel_is_told_that_a_model_was_dropped(kernel: Kernel, models: OneModel) -> None:
    file, other = kernel.look_up(GRAPH), kernel.look_up(f"{ROOT}/variables/variables.index")
    folder = kernel.look_up(f"{ROOT}/variables")
    opened(kernel, other)
    models.on_dropped(models.source.handle)
    kernel.look_up(LINK)  # what comes before its reply has come
    asked_anew = {protocol.NOTIFY_INVAL_INODE_OUT.unpack(body)[0] for code, body in kernel.notified if code == 2}
    assert asked_anew == {file, folder}, "what is open stays as it was"


@pytest.mark.parametrize("size", [200, 4096])
def test_a_model_is_listed_with_attributes_and_its_names_may_be_kept(
    kernel: Kernel, table: NodeTable, size: int
) -> None:
    node_id = kernel.look_up(ROOT)
    found = {name: (number, kind, node) for name, number, kind, node in listing(kernel, node_id, size)}
    assert list(found) == [".", "..", "saved_model.pb", "variables"]
    assert found["."] == (inode(ROOT), 4, 0)
    assert found[".."] == (inode("/google/spice"), 4, 0)
    number, kind, node = found["saved_model.pb"]
    assert (number, kind) == (inode(GRAPH), 8)
    assert entry(kernel, node_id, "saved_model.pb")[0] == node
    assert table[node].lookups == 2
    for keeps in (True, True):
        *_, how, _ = protocol.OPEN_OUT.unpack(kernel.given(Opcode.OPENDIR, node_id, bytes(8)))
        assert how == Open.CACHE_DIR | (Open.KEEP_CACHE if keeps else 0)


def test_names_are_kept_no_longer_than_the_source(kernel: Kernel, models: OneModel) -> None:
    node_id = kernel.look_up(ROOT)

    def kept() -> int:
        return int(protocol.OPEN_OUT.unpack(kernel.given(Opcode.OPENDIR, node_id, bytes(8)))[1]) & Open.KEEP_CACHE

    assert [bool(kept()), bool(kept())] == [False, True]
    models.source = fresh_source()
    assert [bool(kept()), bool(kept())] == [False, True]


def test_a_folder_is_listed_with_what_is_known(kernel: Kernel) -> None:
    node_id = kernel.look_up("/google/spice")
    found = {name: node for name, _, _, node in listing(kernel, node_id)}
    assert {name for name, node in found.items() if node} == {"2", "latest"}
    assert found.keys() == {".", "..", "2", "README.md", "latest"}
    assert {name for name, *_ in listing(kernel, node_id, plus=False)} == found.keys()


def opened_directory(kernel: Kernel, node_id: int) -> tuple[int, bool]:
    """The handle, and whether the names that the kernel has still hold. It may always keep those that it gets."""
    handle, how, _ = protocol.OPEN_OUT.unpack(kernel.given(Opcode.OPENDIR, node_id, bytes(8)))
    assert how & Open.CACHE_DIR
    return handle, bool(how & Open.KEEP_CACHE)


def listed(kernel: Kernel, node_id: int, handle: int) -> bytes:
    return kernel.given(Opcode.READDIR, node_id, protocol.READ_IN.pack(handle, 0, 4096, 0, 0, 0, 0))


def closed(kernel: Kernel, node_id: int, handle: int) -> None:
    kernel.given(Opcode.RELEASEDIR, node_id, protocol.RELEASE_IN.pack(handle, 0, 0, 0))


def test_the_names_of_a_folder_are_kept_until_it_is_opened_and_has_others(kernel: Kernel, models: OneModel) -> None:
    node_id = kernel.look_up("/google/spice")

    def kept() -> bool:
        handle, same = opened_directory(kernel, node_id)
        closed(kernel, node_id, handle)
        return same

    assert [kept(), kept()] == [False, True]
    models.more_versions = ["1777777"]
    assert [kept(), kept()] == [False, True]
    models.more_versions = []
    assert [kept(), kept()] == [False, True]


def test_two_that_have_a_folder_open_with_other_names_leave_none_to_the_kernel(
    kernel: Kernel, models: OneModel
) -> None:
    node_id = kernel.look_up("/google/spice")
    one, _ = opened_directory(kernel, node_id)
    models.more_versions = ["1777777"]
    other, same = opened_directory(kernel, node_id)
    assert not same
    assert b"1777777" not in listed(kernel, node_id, one), "a listing is of what was there when it was opened"
    assert b"1777777" in listed(kernel, node_id, other)
    third, same = opened_directory(kernel, node_id)
    assert not same, "the kernel may have either"
    for handle in (one, other, third):
        closed(kernel, node_id, handle)
    fourth, same = opened_directory(kernel, node_id)
    assert not same
    closed(kernel, node_id, fourth)
    assert opened_directory(kernel, node_id)[1]


def test_a_folder_that_is_listed_anew_is_listed_as_it_is(kernel: Kernel, models: OneModel) -> None:
    node_id = kernel.look_up("/google/spice")
    handle, _ = opened_directory(kernel, node_id)
    assert b"1777777" not in listed(kernel, node_id, handle)
    models.more_versions = ["1777777"]
    assert b"1777777" in listed(kernel, node_id, handle)
    closed(kernel, node_id, handle)
    models.more_versions = []
    assert not opened_directory(kernel, node_id)[1], "the kernel has the names that were there meanwhile"


def test_a_listing_that_is_under_way_stays_as_it_began(kernel: Kernel, models: OneModel) -> None:
    node_id = kernel.look_up(ROOT)
    handle, *_ = protocol.OPEN_OUT.unpack(kernel.given(Opcode.OPENDIR, node_id, bytes(8)))
    first = kernel.given(Opcode.READDIR, node_id, protocol.READ_IN.pack(handle, 0, 64, 0, 0, 0, 0))
    assert len(first) == 64
    models.newest = "gone"
    models.source.fail(Stale("it is gone"))
    rest = kernel.given(Opcode.READDIR, node_id, protocol.READ_IN.pack(handle, 2, 4096, 0, 0, 0, 0))
    assert b"saved_model.pb" in rest
    assert kernel.ask(Opcode.READDIR, node_id, protocol.READ_IN.pack(handle, 0, 64, 0, 0, 0, 0))[0] == errno.ESTALE


def test_a_file_is_no_directory(kernel: Kernel) -> None:
    assert kernel.ask(Opcode.OPENDIR, kernel.look_up(GRAPH), bytes(8))[0] == errno.ENOTDIR


def test_forgetting_keeps_the_table_flat(kernel: Kernel, table: NodeTable) -> None:
    node_id = kernel.look_up(GRAPH)
    assert kernel.look_up(GRAPH) == node_id
    others = [kernel.look_up(path) for path in ("/google/spice/2/variables", "/.hubfs")]
    kernel.send(Opcode.FORGET, node_id, protocol.FORGET_IN.pack(2))
    assert eventually(lambda: kernel.ask(Opcode.GETATTR, node_id, bytes(16))[0] == errno.ESTALE)
    ones = b"".join(protocol.FORGET_ONE.pack(each, 9) for each in others)
    kernel.send(Opcode.BATCH_FORGET, 0, protocol.BATCH_FORGET_IN.pack(1000, 0) + ones)
    assert eventually(lambda: len(table) == 4)  # the root, google, spice and 2


def test_a_symlink_that_moved_makes_the_kernel_forget_its_length(kernel: Kernel, models: OneModel) -> None:
    family = kernel.look_up("/google/spice")
    latest = entry(kernel, family, "latest")[0]
    assert kernel.given(Opcode.READLINK, latest) == b"2"
    assert not kernel.notified
    models.newest = "10"
    assert kernel.given(Opcode.READLINK, latest) == b"10"
    assert kernel.notified == [(2, protocol.NOTIFY_INVAL_INODE_OUT.pack(latest, -1, 0))]
    link = kernel.look_up(LINK)
    assert kernel.given(Opcode.READLINK, link).endswith(b"google/spice/2")
    assert kernel.ask(Opcode.READLINK, family)[0] == errno.EINVAL


def test_attributes_are_read_by_name_and_never_listed(kernel: Kernel) -> None:
    node_id = kernel.look_up(ROOT)

    def asked(name: bytes, size: int) -> tuple[int, bytes]:
        return kernel.ask(Opcode.GETXATTR, node_id, protocol.GETXATTR_IN.pack(size, 0) + name + b"\0")

    assert asked(b"user.hubfs.handle", 0) == (0, protocol.GETXATTR_OUT.pack(14, 0))
    assert asked(b"user.hubfs.handle", 14) == (0, b"google/spice/2")
    assert asked(b"user.hubfs.handle", 13)[0] == errno.ERANGE
    assert asked(b"user.hubfs.nothing", 100)[0] == errno.ENODATA
    assert asked(b"user.other", 100)[0] == errno.ENODATA
    assert asked(b"security.selinux", 100)[0] == errno.ENOTSUP, "a program asks for it of no other file"
    assert kernel.given(Opcode.LISTXATTR, node_id, protocol.GETXATTR_IN.pack(0, 0)) == protocol.GETXATTR_OUT.pack(0, 0)
    assert kernel.given(Opcode.LISTXATTR, node_id, protocol.GETXATTR_IN.pack(100, 0)) == b""


def test_the_file_system_shows_the_limit_of_the_cache_and_has_no_room_to_write(kernel: Kernel) -> None:
    blocks, free, available, files, _, bsize, namelen, frsize, _ = protocol.KSTATFS.unpack(kernel.given(Opcode.STATFS))
    assert blocks * frsize == free * frsize == 1 << 20
    assert (available, files, bsize, namelen) == (0, 0, 1 << 20, 255)


def test_access_allows_reading_and_searching(kernel: Kernel) -> None:
    node_id = kernel.look_up(GRAPH)
    assert kernel.ask(Opcode.ACCESS, node_id, protocol.ACCESS_IN.pack(os.R_OK, 0))[0] == 0
    assert kernel.ask(Opcode.ACCESS, node_id, protocol.ACCESS_IN.pack(os.W_OK, 0))[0] == errno.EROFS
    assert kernel.ask(Opcode.ACCESS, node_id, protocol.ACCESS_IN.pack(os.X_OK, 0))[0] == errno.EACCES
    assert kernel.ask(Opcode.ACCESS, 1, protocol.ACCESS_IN.pack(os.X_OK, 0))[0] == 0


@pytest.mark.parametrize("opcode", [4, 6, 8, 9, 10, 11, 12, 13, 16, 21, 24, 35, 43, 45, 47, 51, 53])
def test_whatever_writes_is_refused(kernel: Kernel, opcode: int) -> None:
    assert kernel.ask(opcode, 1, bytes(64))[0] == errno.EROFS


@pytest.mark.parametrize("opcode", [0, 5000, 20, 25, 30, 31, 37, 39, 40, 46, 48, 0xFFFFFFFF])
def test_whatever_is_not_answered_the_kernel_does_without(kernel: Kernel, opcode: int) -> None:
    assert kernel.ask(opcode, 1, bytes(64))[0] == errno.ENOSYS


@pytest.mark.parametrize("opcode", [1, 14, 15, 18, 28, 29, 34, 44])
def test_a_request_that_is_cut_off_is_an_error_of_its_sender(kernel: Kernel, opcode: int) -> None:
    assert kernel.ask(opcode, 1, b"\1")[0] == errno.EINVAL
    kernel._ours.send(b"short")
    assert kernel.ask(Opcode.LOOKUP, 1, b"..\0")[0] == errno.EINVAL
    assert kernel.ask(Opcode.LOOKUP, 1, b"a/b\0")[0] == errno.EINVAL
    assert kernel.ask(Opcode.DESTROY)[0] == 0


def test_a_handle_of_an_earlier_process_is_opened_again(answers: Answers, cache: Cache, table: NodeTable) -> None:
    with served(answers, table) as (kernel, _):
        kernel.initialize()
        node_id = kernel.look_up(GRAPH)
        opened(kernel, node_id)
    successor = NodeTable(os.dup(table.descriptor))
    with served(answers, successor) as (kernel, _):
        assert read(kernel, node_id, 12345, 0, 5) == b"graph"
        assert kernel.notified == [(7, b"")], "the kernel is to send again what has no reply"
        assert read(kernel, node_id, 12345, 495, 5) == b"graph"
        assert eventually(lambda: len(cache.held) == 3), "by the first process, for what it left open, and anew"
        release(kernel, node_id, 12345)
        assert eventually(lambda: len(cache.released) == 2)
        model = kernel.look_up(ROOT)
        data = kernel.given(Opcode.READDIRPLUS, model, protocol.READ_IN.pack(54321, 2, 4096, 0, 0, 0, 0))
        assert b"saved_model.pb" in data
        resent = kernel.send(Opcode.GETATTR, node_id, bytes(16), unique=protocol.UNIQUE_RESEND | 8)
        assert kernel.reply(resent)[0] == 0
    successor.close()


def test_pages_of_an_earlier_process_are_dropped_at_the_first_open(
    answers: Answers, models: OneModel, table: NodeTable
) -> None:
    with served(answers, table) as (kernel, _):
        kernel.initialize()
        node_id = kernel.look_up(GRAPH)
    successor = NodeTable(os.dup(table.descriptor))
    models.source = fresh_source()
    with served(answers, successor) as (kernel, _):
        assert kernel.look_up(GRAPH) == node_id
        kept = [bool(opened(kernel, node_id)[1] & Open.KEEP_CACHE) for _ in range(2)]
        assert kept == [False, True]
    successor.close()


def test_a_file_that_changed_between_two_processes_is_stale_and_never_read_as_the_other(
    answers: Answers, models: OneModel, table: NodeTable
) -> None:
    with served(answers, table) as (kernel, _):
        kernel.initialize()
        node_id = kernel.look_up(GRAPH)
        opened(kernel, node_id)
    successor = NodeTable(os.dup(table.descriptor))
    models.source = MemorySource({**FILES, "saved_model.pb": b"another"}, handle=models.source.handle)
    with served(answers, successor) as (kernel, _):
        for _ in range(2):
            assert kernel.ask(Opcode.READ, node_id, protocol.READ_IN.pack(12345, 0, 5, 0, 0, 0, 0))[0] == errno.ESTALE
        assert kernel.ask(Opcode.OPEN, node_id, protocol.OPEN_IN.pack(0, 0))[0] == errno.ESTALE
        found = kernel.look_up(GRAPH)
        assert found != node_id
        handle, *_ = opened(kernel, found)
        assert read(kernel, found, handle, 0, 100) == b"another"
    successor.close()


class TestTextsOfAnEarlierProcess:
    """A control file that a process left open, and of which its successor has another text."""

    BEFORE, AFTER = b"0123456789", b"abcdefghijklmnop"

    @pytest.fixture
    def serve(self, models: OneModel, cache: Cache, tmp_path: Path, table: NodeTable) -> Serve:
        """Serves the mount with a text of `/.hubfs/version`, by a process of its own."""

        @contextmanager
        def serving(text: bytes) -> Iterator[Kernel]:
            successor = NodeTable(os.dup(table.descriptor))
            try:
                with served(answers_of(models, cache, tmp_path, text), successor) as (kernel, _):
                    if not table.agreed:
                        kernel.initialize()
                    yield kernel
            finally:
                successor.close()

        return serving

    @staticmethod
    def read_from(kernel: Kernel, node_id: int, handle: int, offset: int) -> bytes | None:
        """Three bytes; None for ESTALE."""
        error, data = kernel.ask(Opcode.READ, node_id, protocol.READ_IN.pack(handle, offset, 3, 0, 0, 0, 0))
        assert error in (0, errno.ESTALE)
        return None if error else data

    def test_it_is_stale_in_the_middle_and_has_its_end_and_begins_anew(self, serve: Serve) -> None:
        with serve(self.BEFORE) as kernel:
            node_id = kernel.look_up("/.hubfs/version")
            handle = opened(kernel, node_id)[0]
            assert read(kernel, node_id, handle, 0, 3) == b"012"
        with serve(self.AFTER) as kernel:
            found = [self.read_from(kernel, node_id, handle, offset) for offset in (3, 9, 10, 11)]
            assert found == [None, None, b"", b""]
            assert [self.read_from(kernel, node_id, handle, offset) for offset in (0, 4, 10, 3)] == [
                *(b"abc", None, None, b"def")
            ]
            assert read(kernel, node_id, handle, 6, 100) == self.AFTER[6:]
            assert read(kernel, node_id, handle, len(self.AFTER), 100) == b""
        with serve(self.AFTER + b"q") as kernel:
            found = [self.read_from(kernel, node_id, handle, offset) for offset in (3, 10, len(self.AFTER), 0)]
            assert found == [None, None, None, b"abc"], "of two texts none is known to be whose end this is"

    def test_the_same_text_goes_on(self, serve: Serve) -> None:
        with serve(self.BEFORE) as kernel:
            node_id = kernel.look_up("/.hubfs/version")
            handle = opened(kernel, node_id)[0]
        for _ in range(2):
            with serve(self.BEFORE) as kernel:
                assert [self.read_from(kernel, node_id, handle, offset) for offset in (3, 9, 10)] == [b"345", b"9", b""]

    def test_of_several_that_are_open_none_is_known(self, serve: Serve) -> None:
        with serve(self.BEFORE) as kernel:
            node_id = kernel.look_up("/.hubfs/version")
            handles = [opened(kernel, node_id)[0]]
        with serve(self.AFTER) as kernel:
            handles.append(opened(kernel, node_id)[0])
            assert self.read_from(kernel, node_id, handles[1], 3) == b"def"
            assert self.read_from(kernel, node_id, handles[0], 10) == b"", "that is how it was left"
        with serve(self.AFTER) as kernel:
            for handle in handles:
                assert self.read_from(kernel, node_id, handle, 3) is None
                assert self.read_from(kernel, node_id, handle, 0) == b"abc"


class Passing:
    """Passes every file through, with the same backing id; but for the second open of a `replaced` one."""

    stack_depth = 1

    def __init__(self) -> None:
        self.opens: list[int] = []
        self.stale = False

    def opened(self, node: int, _file: OpenFile) -> int:
        if self.stale:
            raise Stale("another file")
        self.opens.append(node)
        return 7

    def released(self, node: int) -> None:
        self.opens.remove(node)


def test_a_file_that_the_kernel_reads_itself_keeps_no_pages_of_ours(
    answers: Answers, table: NodeTable, cache: Cache
) -> None:
    passing = Passing()
    with served(answers, table, passthrough=passing) as (kernel, _):
        kernel.initialize()
        node_id = kernel.look_up(GRAPH)
        handles = [opened(kernel, node_id) for _ in range(2)]
        assert all((how, backing_id) == (Open.PASSTHROUGH | Open.NOFLUSH, 7) for _, how, backing_id in handles)
        assert (table[node_id].opens, table[node_id].backing_id, passing.opens) == (2, 7, [node_id, node_id])
        passing.stale = True
        assert kernel.ask(Opcode.OPEN, node_id, protocol.OPEN_IN.pack(0, 0))[0] == errno.ESTALE
        assert len(cache.released) == 1
        assert kernel.look_up(GRAPH) != node_id
        for handle, *_ in handles:
            release(kernel, node_id, handle)
        assert (passing.opens, table[node_id].opens, table[node_id].backing_id) == ([], 0, 0)


class Stalled:
    """Has `stat` of one path wait until it is let go."""

    def __init__(self, answers: Answers, path: str) -> None:
        self.go = threading.Event()
        self.asked = threading.Semaphore(0)
        real = answers.stat

        def stat_late(asked: str):
            if asked == path:
                self.asked.release()
                assert self.go.wait(60)
            return real(asked)

        answers.stat = stat_late  # type: ignore[method-assign]


def test_who_waits_keeps_nobody_else_from_an_answer(answers: Answers) -> None:
    stalled = Stalled(answers, "/google/late")
    with served(answers) as (kernel, _):
        kernel.initialize()
        google = kernel.look_up("/google")
        late = [kernel.send(Opcode.LOOKUP, google, b"late\0") for _ in range(40)]
        for _ in late:
            assert stalled.asked.acquire(timeout=60)
        assert kernel.look_up(GRAPH)
        stalled.go.set()
        assert [kernel.reply(each)[0] for each in late] == [0] * 40


def test_a_burst_of_readers_leaves_no_threads_behind(answers: Answers) -> None:
    def threads() -> int:
        return sum(thread.name.startswith("fuse-") for thread in threading.enumerate())

    stalled = Stalled(answers, "/google/late")
    with served(answers) as (kernel, _):
        kernel.initialize()
        google = kernel.look_up("/google")
        late = [kernel.send(Opcode.LOOKUP, google, b"late\0") for _ in range(40)]
        for _ in late:
            assert stalled.asked.acquire(timeout=60)
        assert threads() > 40
        stalled.go.set()
        assert [kernel.reply(each)[0] for each in late] == [0] * 40
        assert eventually(lambda: threads() <= 11)
        assert kernel.look_up(GRAPH)


def test_a_reader_that_was_killed_is_answered_at_once_and_what_it_asked_for_is_not_kept(
    answers: Answers, table: NodeTable
) -> None:
    stalled = Stalled(answers, "/google/late")
    with served(answers, table) as (kernel, _):
        kernel.initialize()
        google = kernel.look_up("/google")
        reader = subprocess.Popen(["sleep", "1000"])
        late = kernel.send(Opcode.LOOKUP, google, b"late\0", thread_id=reader.pid)
        alive = kernel.send(Opcode.LOOKUP, google, b"late\0", thread_id=os.getpid())
        for _ in (late, alive):
            assert stalled.asked.acquire(timeout=60)
        for each in (late, alive):
            kernel.send(Opcode.INTERRUPT, 0, protocol.INTERRUPT_IN.pack(each), unique=each | 1)
        assert kernel.look_up(ROOT), "an interrupt of a reader that lives changes nothing"
        reader.kill()
        reader.wait()
        assert kernel.reply(late) == (errno.EINTR, b"")
        stalled.go.set()
        assert kernel.reply(alive)[0] == 0
        node_id = kernel.look_up("/google/late")
        assert eventually(lambda: table[node_id].lookups == 2), "the lost reply told the kernel of nothing"


def test_an_interrupt_of_a_request_that_is_not_known_is_asked_for_again(kernel: Kernel) -> None:
    unique = kernel.send(Opcode.INTERRUPT, 0, protocol.INTERRUPT_IN.pack(1 << 40), unique=(1 << 40) + 1)
    assert kernel.reply(unique) == (errno.EAGAIN, b"")


def test_readers_that_were_killed_do_not_use_threads_up(answers: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hubfs.fuse.session.session.THREADS", 3)
    stalled = Stalled(answers, "/google/late")
    with served(answers) as (kernel, _):
        kernel.initialize()
        google = kernel.look_up("/google")
        gone = subprocess.Popen(["true"])
        gone.wait()
        for _ in range(2):
            late = kernel.send(Opcode.LOOKUP, google, b"late\0", thread_id=gone.pid)
            assert stalled.asked.acquire(timeout=60)
            kernel.send(Opcode.INTERRUPT, 0, protocol.INTERRUPT_IN.pack(late), unique=late | 1)
            assert kernel.reply(late)[0] == errno.EINTR
        for _ in range(2):
            kernel.send(Opcode.LOOKUP, google, b"late\0")
            assert stalled.asked.acquire(timeout=60)
        assert kernel.look_up(GRAPH)
        stalled.go.set()


def test_a_reply_that_the_kernel_does_not_take_tells_it_of_nothing(
    answers: Answers, table: NodeTable, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(answers, table) as (kernel, session):
        kernel.initialize()
        model, node_id = kernel.look_up(ROOT), kernel.look_up(GRAPH)
        lookups = {number: node.lookups for number, node in table.items()}
        monkeypatch.setattr(session, "_write", lambda *_: False)
        for opcode, where, body in (
            (Opcode.LOOKUP, model, b"saved_model.pb\0"),
            (Opcode.LOOKUP, model, b"nothing\0"),
            (Opcode.READDIRPLUS, model, protocol.READ_IN.pack(5, 0, 4096, 0, 0, 0, 0)),
            (Opcode.OPEN, node_id, bytes(8)),
            (Opcode.OPENDIR, model, bytes(8)),
            (Opcode.GETATTR, model, bytes(16)),
        ):
            header = protocol.IN_HEADER.pack(40 + len(body), opcode, 2, where, 0, 0, 0, 0)
            session.handle(memoryview(header + body))
        assert {number: node.lookups for number, node in table.items()} == lookups
        assert table[node_id].opens == 0
        assert cache.held == cache.released != []
        monkeypatch.undo()
        assert not opened_directory(kernel, model)[1], "the kernel was not told to drop what it had"


def test_the_end_of_the_device_is_the_end_of_the_session(answers: Answers) -> None:
    with served(answers) as (kernel, _):
        kernel.initialize()
    unreadable, table = os.open("/dev/null", os.O_WRONLY), NodeTable()
    with pytest.raises(OSError, match="Bad file descriptor"):
        Session(unreadable, table, answers, Timeouts()).run()
    os.close(unreadable)
    table.close()


@pytest.mark.parametrize("ends_by", ["release", "forget"])
def test_a_file_that_an_earlier_process_left_open_is_held_until_it_is_closed(
    answers: Answers, models: OneModel, table: NodeTable, tmp_path: Path, ends_by: str
) -> None:
    with served(answers, table) as (kernel, _):
        kernel.initialize()
        node_id = kernel.look_up(GRAPH)
        handles = [opened(kernel, node_id)[0] for _ in range(2)]
        closed = kernel.look_up(f"{ROOT}/variables/variables.index")
        release(kernel, closed, opened(kernel, closed)[0])
    successor, cache = NodeTable(os.dup(table.descriptor)), Cache()
    with served(answers_of(models, cache, tmp_path), successor) as (kernel, _):
        assert eventually(lambda: cache.held == [models.source.model])
        release(kernel, node_id, handles[0])
        assert not cache.released
        if ends_by == "release":
            release(kernel, node_id, handles[1])
        else:
            kernel.send(Opcode.FORGET, node_id, protocol.FORGET_IN.pack(1))
        assert eventually(lambda: cache.released == cache.held)
    successor.close()


@pytest.mark.parametrize(
    ("path", "most"), [("/google/spice", 180), (ROOT, 40), (f"{ROOT}/variables", 60)], ids=["above", "model", "inside"]
)
def test_a_directory_that_comes_again_is_opened_and_closed_by_few_calls_of_functions(
    kernel: Kernel, answers: Answers, table: NodeTable, path: str, most: int
) -> None:
    node_id = kernel.look_up(path)
    handlers = Handlers(
        *(answers, table, Timeouts()),
        passthrough=None,
        forget_attributes=lambda _: None,
        knows=lambda _: True,
        over=threading.Event(),
    )

    def again() -> None:
        opened = handlers.table[Opcode.OPENDIR](node_id, memoryview(protocol.OPEN_IN.pack(0, 0)))
        assert isinstance(opened, bytes)
        handle = protocol.OPEN_OUT.unpack(opened)[0]
        handlers.table[Opcode.RELEASEDIR](node_id, memoryview(protocol.RELEASE_IN.pack(handle, 0, 0, 0)))

    again()
    assert calls_of(again) <= most
