"""The layouts and numbers, against the kernel's own header where there is one to compile."""

import re
import shutil
from pathlib import Path
from struct import Struct

import pytest

from hubfs.fuse.session import protocol
from hubfs.fuse.session.protocol import Init, Notify, Opcode, Open
from tests.support.programs import ran

HEADER = Path("/usr/include/linux/fuse.h")

SIZES = {
    "fuse_in_header": (protocol.IN_HEADER, 40),
    "fuse_out_header": (protocol.OUT_HEADER, 16),
    "fuse_init_in": (protocol.INIT_IN_EXT, 64),
    "fuse_init_out": (protocol.INIT_OUT, 64),
    "fuse_entry_out": (protocol.ENTRY_OUT, 128),
    "fuse_attr_out": (protocol.ATTR_OUT, 104),
    "fuse_forget_in": (protocol.FORGET_IN, 8),
    "fuse_batch_forget_in": (protocol.BATCH_FORGET_IN, 8),
    "fuse_forget_one": (protocol.FORGET_ONE, 16),
    "fuse_open_in": (protocol.OPEN_IN, 8),
    "fuse_open_out": (protocol.OPEN_OUT, 16),
    "fuse_read_in": (protocol.READ_IN, 40),
    "fuse_release_in": (protocol.RELEASE_IN, 24),
    "fuse_access_in": (protocol.ACCESS_IN, 8),
    "fuse_getxattr_in": (protocol.GETXATTR_IN, 8),
    "fuse_getxattr_out": (protocol.GETXATTR_OUT, 8),
    "fuse_interrupt_in": (protocol.INTERRUPT_IN, 8),
    "fuse_kstatfs": (protocol.KSTATFS, 80),
    "fuse_statx_in": (protocol.STATX_IN, 24),
    "fuse_statx_out": (protocol.STATX_OUT, 288),
    "fuse_dirent": (protocol.DIRENT, 24),
    "fuse_notify_inval_inode_out": (protocol.NOTIFY_INVAL_INODE_OUT, 24),
}


@pytest.mark.parametrize("name", SIZES)
def test_a_layout_is_as_long_as_the_kernels(name: str) -> None:
    layout, size_bytes = SIZES[name]
    assert isinstance(layout, Struct)
    assert layout.size == size_bytes


@pytest.mark.skipif(
    shutil.which("cc") is None or not HEADER.exists(), reason="there is nothing to compile, or to do it"
)
def test_sizes_and_numbers_are_those_of_the_kernels_header(tmp_path: Path) -> None:
    text = HEADER.read_text()
    names = {
        **{f"FUSE_{each.name}": each.value for each in Opcode},
        **{f"FUSE_NOTIFY_{each.name}": each.value for each in Notify},
        **{f"FUSE_{each.name}": each.value for each in Init},
        **{f"FOPEN_{each.name}": each.value for each in Open},
        "FUSE_ROOT_ID": protocol.ROOT_ID,
        "FUSE_MIN_READ_BUFFER": protocol.MIN_READ_BUFFER,
    }
    claims = [f"{name} == {number}ULL" for name, number in names.items() if re.search(rf"\b{name}\b", text)]
    claims += [f"sizeof(struct {name}) == {size}" for name, (_, size) in SIZES.items() if f"struct {name} {{" in text]
    assert len(claims) > 60
    program = tmp_path / "claims.c"
    lines = (f'_Static_assert({claim}, "{claim}");' for claim in claims)
    program.write_text("\n".join(("#include <linux/fuse.h>", *lines, "")))
    done = ran(["cc", "-fsyntax-only", program])
    assert done.returncode == 0, done.stderr
