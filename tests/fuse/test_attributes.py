import os
import random
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubfs.fuse.attributes import Owner, inode, mode_of, stat_of
from hubfs.tree.node import Node, NodeKind

OWNER = Owner(uid=12, gid=34)


@given(st.text())
def test_inodes_fit_and_are_never_zero(path: str) -> None:
    assert 0 < inode(path.encode("utf-8", "replace").decode()) < 1 << 63


def test_inodes_are_the_same_in_every_version_of_the_program() -> None:
    assert inode("/google/spice/2/saved_model.pb") == 2377322789600578075
    assert inode("/not\udcffutf-8") != inode("/not\udcfeutf-8")


def test_inodes_of_many_paths_differ() -> None:
    assert len({inode(f"/a/b/{number}") for number in range(20_000)}) == 20_000


def test_inodes_of_a_directory_are_in_the_order_of_the_places() -> None:
    names = random.Random(1).sample(range(1 << 32), 1000)
    inodes = [inode(f"/a/b/{name}", place + 1) for place, name in enumerate(names)]
    assert inodes == sorted(set(inodes))
    assert inodes[0] > 0
    assert inodes[-1] < 1 << 63
    assert inode("/a/b/c", 1 << 32) > 0
    assert inode("/a/c/d", 7) != inode("/a/b/d", 7)


@pytest.mark.parametrize("kind", NodeKind)
def test_no_file_can_be_written_or_run_and_everybody_may_read(kind: NodeKind) -> None:
    # Of symlinks the permissions of what they lead to count; everybody else shows all of them as given.
    # Directories have the modes that a copy is to have, which its owner deletes: the mount itself is read-only.
    permissions = {NodeKind.DIRECTORY: 0o755, NodeKind.SYMLINK: 0o777}
    found = stat_of("/x", Node(kind, 5), OWNER)
    mode = found["st_mode"]
    assert mode == mode_of(kind)
    assert stat.S_ISDIR(mode) is (kind is NodeKind.DIRECTORY)
    assert stat.S_ISLNK(mode) is (kind is NodeKind.SYMLINK)
    assert stat.S_ISREG(mode) is (kind in (NodeKind.FILE, NodeKind.CONTROL))
    assert stat.S_IMODE(mode) == permissions.get(kind, 0o444)
    assert (found["st_uid"], found["st_gid"]) == (12, 34)


@pytest.mark.parametrize(("size_bytes", "blocks"), [(0, 0), (1, 1), (512, 1), (513, 2), (5 << 40, 5 << 31)])
def test_sizes_are_in_bytes_and_blocks_of_512(size_bytes: int, blocks: int) -> None:
    found = stat_of("/x", Node(NodeKind.FILE, size_bytes), OWNER)
    assert (found["st_size"], found["st_blocks"], found["st_nlink"]) == (size_bytes, blocks, 1)


def test_a_directory_has_a_size_and_takes_no_room() -> None:
    found = stat_of("/x", Node(NodeKind.DIRECTORY), OWNER)
    assert found["st_size"] > 0
    assert (found["st_blocks"], found["st_nlink"]) == (0, 2)


def test_all_times_are_the_nodes() -> None:
    found = stat_of("/x", Node(NodeKind.FILE, 5, 1_234_567_890_123_456_789), OWNER)
    assert {found[name] for name in ("st_atime", "st_mtime", "st_ctime")} == {1_234_567_890_123_456_789}


def test_the_owner_is_who_mounted() -> None:
    assert Owner.of_this_process() == Owner(os.getuid(), os.getgid())
