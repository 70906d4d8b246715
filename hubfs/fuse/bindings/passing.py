"""Passthrough by libfuse's high-level interface, which has it from 3.17.2 on: `fuse_file_info` has a `backing_id`."""

import ctypes
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from hubfs.errors import Stale
from hubfs.fuse.answers import Answers
from hubfs.fuse.operations import Operations, boundary
from hubfs.fuse.passthrough import Passthrough

_SINCE = (3, 17, 2)
"""3.17.0 and 3.17.1 lose bits of `want_ext` (libfuse's ChangeLog)."""

_CAP_PASSTHROUGH = 1 << 29  # FUSE_CAP_PASSTHROUGH

_KEEP_PAGES = ("kernel_cache", "auto_cache")
"""Options of libfuse that have it put FOPEN_KEEP_CACHE beside FOPEN_PASSTHROUGH, which the kernel answers by EIO."""


def why_not(module: ModuleType) -> str | None:
    """Why the binding's libfuse passes no file through; None if it can."""
    library = module._libfuse  # noqa: SLF001 - the library that the module has chosen
    if not hasattr(library, "fuse_pkgversion"):
        return "libfuse 2 does not have it; libfuse 3.17.2 and --fuse-library session have"
    library.fuse_pkgversion.restype = ctypes.c_char_p
    version = library.fuse_pkgversion().decode(errors="replace")
    if tuple(int(part) for part in version.split(".") if part.isdecimal()) < _SINCE:
        return f"libfuse {version} does not have it; libfuse 3.17.2 and --fuse-library session have"
    if not hasattr(module.fuse_conn_info, "want_ext"):
        return f"this {module.__name__} does not know it; 3.1.1 and --fuse-library session do"
    return None


def agree(module: ModuleType, connection: Any, passthrough: Passthrough, options: Mapping[str, object]) -> None:
    """Has libfuse ask the kernel for passthrough, unless it is refused. To be called within `init`."""
    if not passthrough.stack_depth:
        return
    hindering = next((name for name in _KEEP_PAGES if options.get(name)), None)
    if hindering is not None:
        passthrough.refuse(f"-o {hindering} has the kernel keep pages of its own")
    elif not connection.capable_ext & _CAP_PASSTHROUGH:
        passthrough.refuse("the kernel was built without it (CONFIG_FUSE_PASSTHROUGH)")
    else:
        connection.want_ext |= _CAP_PASSTHROUGH
        connection.max_backing_stack_depth = passthrough.stack_depth - 1  # libfuse counts itself in
        library = module._libfuse  # noqa: SLF001 - the library that the module has chosen
        library.fuse_get_session.restype = ctypes.c_void_p
        session = library.fuse_get_session(ctypes.c_void_p(library.fuse_get_context().contents.fuse))
        passthrough.begin(library.fuse_session_fd(ctypes.c_void_p(session)))


class PassingOperations(Operations):
    """The operations for libfuse 3: files that are whole in the disk cache are opened as their backing files.

    An inode is its path: libfuse gives a path no second one. So what was replaced while it is passed through cannot be
    opened before its last opener has gone (ESTALE); the kernel session opens it beside.
    """

    def __init__(self, answers: Answers, forget_attributes: Callable[[str], None], passthrough: Passthrough) -> None:
        super().__init__(answers, forget_attributes)
        self._passthrough = passthrough

    @boundary
    def open(self, path: str, fi: Any) -> int:
        """Opens for reading."""
        opened = self._answers.open(path, fi.flags, path)
        try:
            backing_id = self._passthrough.opened(path, opened.file)
        except Stale:
            self._answers.files.remove(opened.handle)
            raise
        fi.fh = opened.handle
        if backing_id:
            _set_backing_id(fi, backing_id)
        else:
            fi.keep_cache, fi.direct_io = opened.keeps_pages, opened.direct
        return 0

    @boundary
    def release(self, path: str, fi: Any) -> int:
        """The last user of an open file has gone."""
        self._answers.files.remove(fi.fh)
        self._passthrough.released(path)
        return 0


def _set_backing_id(fi: Any, backing_id: int) -> None:
    """The field has no name in mfusepy 3.1.1, which takes `poll_events`, in front of it, for twice as wide as it is."""
    ctypes.c_int32.from_buffer(fi, type(fi).poll_events.offset + ctypes.sizeof(ctypes.c_uint32)).value = backing_id
