"""The protocol of /dev/fuse: names, numbers and layouts of Linux's include/uapi/linux/fuse.h, up to version 7.45.

The comment beside a name is the version of the protocol that brought it, for what is newer than 7.31 (Linux 5.4).
Layouts are little or big endian as the machine is; every field stands where the C compiler puts it, and no layout has
padding that is not named in the header.
"""

from enum import IntEnum, IntFlag
from struct import Struct

MAJOR, MINOR = 7, 45
OLDEST_MINOR = 31
"""Linux 5.4. What is older lacks nothing but is tested nowhere."""

ROOT_ID = 1
MIN_READ_BUFFER = 8192
"""The kernel hands requests over to no smaller buffer."""

UNIQUE_RESEND = 1 << 63  # 7.40
"""Set in `unique` of a request that is sent a second time."""
INT_REQ_BIT = 1
"""Set in `unique` of an interrupt."""


class Opcode(IntEnum):
    """enum fuse_opcode."""

    LOOKUP = 1
    FORGET = 2
    GETATTR = 3
    SETATTR = 4
    READLINK = 5
    SYMLINK = 6
    MKNOD = 8
    MKDIR = 9
    UNLINK = 10
    RMDIR = 11
    RENAME = 12
    LINK = 13
    OPEN = 14
    READ = 15
    WRITE = 16
    STATFS = 17
    RELEASE = 18
    FSYNC = 20
    SETXATTR = 21
    GETXATTR = 22
    LISTXATTR = 23
    REMOVEXATTR = 24
    FLUSH = 25
    INIT = 26
    OPENDIR = 27
    READDIR = 28
    RELEASEDIR = 29
    FSYNCDIR = 30
    GETLK = 31
    SETLK = 32
    SETLKW = 33
    ACCESS = 34
    CREATE = 35
    INTERRUPT = 36
    BMAP = 37
    DESTROY = 38
    IOCTL = 39
    POLL = 40
    NOTIFY_REPLY = 41
    BATCH_FORGET = 42
    FALLOCATE = 43
    READDIRPLUS = 44
    RENAME2 = 45
    LSEEK = 46
    COPY_FILE_RANGE = 47
    SETUPMAPPING = 48
    REMOVEMAPPING = 49
    SYNCFS = 50  # 7.34
    TMPFILE = 51  # 7.37
    STATX = 52  # 7.39
    COPY_FILE_RANGE_64 = 53  # 7.45


class Notify(IntEnum):
    """enum fuse_notify_code."""

    INVAL_INODE = 2
    STORE = 4
    RESEND = 7  # 7.40


class Init(IntFlag):
    """FUSE_*: what both sides of INIT can do. Bits from 32 on stand in `flags2`."""

    ASYNC_READ = 1 << 0
    ATOMIC_O_TRUNC = 1 << 3
    AUTO_INVAL_DATA = 1 << 12
    DO_READDIRPLUS = 1 << 13
    READDIRPLUS_AUTO = 1 << 14
    ASYNC_DIO = 1 << 15
    PARALLEL_DIROPS = 1 << 18
    MAX_PAGES = 1 << 22
    INIT_EXT = 1 << 30  # 7.36
    PASSTHROUGH = 1 << 37  # 7.40
    HAS_RESEND = 1 << 39  # 7.40


class Open(IntFlag):
    """FOPEN_*: flags of a reply to OPEN and OPENDIR."""

    DIRECT_IO = 1 << 0
    KEEP_CACHE = 1 << 1
    CACHE_DIR = 1 << 3
    NOFLUSH = 1 << 5  # 7.35
    PASSTHROUGH = 1 << 7  # 7.40


class Statx(IntFlag):
    """STATX_*: which fields of struct statx are filled in."""

    BASIC_STATS = 0x7FF
    BTIME = 0x800


IN_HEADER = Struct("=IIQQIIII")
"""len, opcode, unique, nodeid, uid, gid, pid, (total_extlen, padding)"""
OUT_HEADER = Struct("=IiQ")
"""len, error, unique"""

INIT_IN = Struct("=IIII")
"""major, minor, max_readahead, flags"""
INIT_IN_EXT = Struct("=IIIII44x")
"""The same, and flags2. 7.36"""
INIT_OUT = Struct("=IIIIHHIIHHIIH22x")
"""major, minor, max_readahead, flags, max_background, congestion_threshold, max_write, time_gran, max_pages,
map_alignment, flags2, max_stack_depth, request_timeout"""

_ATTR = "QQQQQQIIIIIIIIII"
"""struct fuse_attr: ino, size, blocks, atime, mtime, ctime, atimensec, mtimensec, ctimensec, mode, nlink, uid, gid,
rdev, blksize, flags"""
ENTRY_OUT = Struct(f"=QQQQII{_ATTR}")
"""nodeid, generation, entry_valid, attr_valid, entry_valid_nsec, attr_valid_nsec, attr"""
ATTR_OUT = Struct(f"=QII{_ATTR}")
"""attr_valid, attr_valid_nsec, dummy, attr"""
FORGET_IN = Struct("=Q")
"""nlookup"""
BATCH_FORGET_IN = Struct("=II")
"""count, dummy; as many `FORGET_ONE` follow"""
FORGET_ONE = Struct("=QQ")
"""nodeid, nlookup"""
OPEN_IN = Struct("=II")
"""flags, open_flags"""
OPEN_OUT = Struct("=QIi")
"""fh, open_flags, backing_id (7.40)"""
READ_IN = Struct("=QQIIQII")
"""fh, offset, size, read_flags, lock_owner, flags, padding"""
RELEASE_IN = Struct("=QIIQ")
"""fh, flags, release_flags, lock_owner"""
ACCESS_IN = Struct("=II")
"""mask, padding"""
GETXATTR_IN = Struct("=II")
"""size, padding; the name follows"""
GETXATTR_OUT = Struct("=II")
"""size, padding"""
INTERRUPT_IN = Struct("=Q")
"""unique"""
KSTATFS = Struct("=QQQQQIIII24x")
"""blocks, bfree, bavail, files, ffree, bsize, namelen, frsize, padding"""
STATX_IN = Struct("=IIQII")
"""getattr_flags, reserved, fh, sx_flags, sx_mask. 7.39"""
STATX_OUT = Struct("=QII16xIIQIIIHxxQQQQ" + "qIi" * 4 + "IIII112x")
"""attr_valid, attr_valid_nsec, flags; struct fuse_statx: mask, blksize, attributes, nlink, uid, gid, mode, ino, size,
blocks, attributes_mask, atime, btime, ctime, mtime (each with nanoseconds and a reserved field), rdev, dev. 7.39"""
DIRENT = Struct("=QQII")
"""ino, off, namelen, type; the name follows, with zeros up to a multiple of eight bytes"""
NOTIFY_INVAL_INODE_OUT = Struct("=Qqq")
"""ino, off, len. A negative offset leaves pages alone"""
NOTIFY_STORE_OUT = Struct("=QQI4x")
"""nodeid, offset, size"""
