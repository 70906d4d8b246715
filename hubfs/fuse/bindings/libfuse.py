"""Which FUSE binding: the one file that knows mfusepy from fusepy, and libfuse 3 from libfuse 2."""

import codecs
import ctypes
import logging
import os
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from hubfs.errors import MountFailed, needing
from hubfs.fuse.answers import Answers
from hubfs.fuse.bindings.complaints import Complaints
from hubfs.fuse.bindings.passing import PassingOperations, agree, why_not
from hubfs.fuse.counts import OperationCounts
from hubfs.fuse.mounting import FuseLibrary, Timeouts, check_openness
from hubfs.fuse.operations import Operations
from hubfs.fuse.passthrough import Passthrough

_log = logging.getLogger(__name__)


# The Python modules, and the sonames they are known to work with.
_CANDIDATES = {
    FuseLibrary.LIBFUSE3: ("mfusepy", ("libfuse3.so.4", "libfuse3.so.3")),
    FuseLibrary.LIBFUSE2: ("fuse", ("libfuse.so.2",)),
}

_THREADS = 64
"""Enough that readers who wait for an archive do not keep others from the cache (libfuse 3's default: 10)."""

_BACKGROUND = 48
"""Background reads, which no signal ends, leave threads for other questions."""


class Binding:
    """A loaded binding: mounts `Answers`, as `Operations`. Refuses `passthrough` where libfuse does not have it."""

    def __init__(self, library: FuseLibrary, module: ModuleType, soname: str, passthrough: Passthrough) -> None:
        self._library = library
        self._module = module
        self._passthrough = passthrough
        self.description = f"{module.__name__} on {soname}"
        reason = passthrough.refusal or why_not(module)
        if reason is not None:
            passthrough.refuse(reason)

    def _forget_attributes(self, path: str) -> None:
        """Has the kernel ask for the attributes of `path` anew. To be called within an operation, by its thread.

        libfuse forbids that for the inode that an operation waits for with a lock held; of a symlink the kernel holds
        none. libfuse 2 has no such call: there the kernel believes what it was told until that expires.
        """
        if self._library is FuseLibrary.LIBFUSE3:
            library = self._module._libfuse  # noqa: SLF001 - the library that the module has chosen
            fuse = ctypes.c_void_p(library.fuse_get_context().contents.fuse)
            library.fuse_invalidate_path(fuse, path.encode(errors="surrogateescape"))

    def serve(
        self, answers: Answers, mountpoint: Path, *, options: Mapping[str, str | bool], timeouts: Timeouts
    ) -> None:
        """Mounts, answers the kernel until the file system is unmounted, and returns.

        To be called from a thread that is not the main one: then neither binding touches the signal handlers. Raises
        `MountFailed`.
        """
        check_openness(options, os.geteuid())
        fixed: dict[str, str | bool] = {
            "foreground": True,
            "ro": True,
            "nosuid": True,
            "nodev": True,
            "default_permissions": True,
            "use_ino": True,
            "fsname": "hubfs",
            "subtype": "hubfs",
            "entry_timeout": str(timeouts.entry_s),
            "attr_timeout": str(timeouts.attr_s),
            "negative_timeout": str(timeouts.negative_s),
        }
        complaints = Complaints()
        operations: _Operations
        if self._library is FuseLibrary.LIBFUSE3:
            operations = _ThreadedOperations(
                PassingOperations(answers, self._forget_attributes, self._passthrough),
                answers.counts,
                complaints,
                lambda connection: agree(self._module, connection, self._passthrough, options),
            )
            if self._module.fuse_version_minor >= 12:  # noqa: PLR2004 - the release that brought the option
                fixed["max_threads"] = fixed["max_idle_threads"] = str(_THREADS)
        else:
            operations = _CallableOperations(Operations(answers, self._forget_attributes), answers.counts, complaints)
            fixed["encoding"] = _ANY_NAME  # mfusepy's own way
        try:
            self._module.FUSE(operations, str(mountpoint), raw_fi=True, **{**fixed, **options})
        except RuntimeError as error:
            reason = complaints.release() or (
                f"status {error}; is /dev/fuse there, and may you use it? is every -o option one that libfuse knows?"
            )
            raise MountFailed(
                f"{self.description} could not mount {mountpoint}: {reason} (see `hubfs doctor`)"
            ) from error
        finally:
            complaints.release()


def load(preference: FuseLibrary, passthrough: Passthrough) -> Binding:
    """Imports the binding. Raises `MountFailed` when no libfuse that it may use is installed."""
    wanted = [preference] if preference is not FuseLibrary.AUTO else [FuseLibrary.LIBFUSE3, FuseLibrary.LIBFUSE2]
    for library in wanted:
        module_name, sonames = _CANDIDATES[library]
        for soname in sonames:
            try:
                ctypes.CDLL(soname)
            except OSError:
                continue
            # Both modules choose their library while they are imported, and only by this variable: mfusepy takes
            # libfuse 2 where both are installed.
            os.environ["FUSE_LIBRARY_PATH"] = soname
            with needing("fusepy" if module_name == "fuse" else module_name, f"--fuse-library {library.value}"):
                return Binding(library, import_module(module_name), soname, passthrough)
    names = " or ".join(name for library in wanted for name in _CANDIDATES[library][1])
    raise MountFailed(f"{names} is not installed; on Debian and Ubuntu: apt-get install fuse3")


_ANY_NAME = "utf_8_or_any_byte"
"""What fusepy decodes names by: strict UTF-8, its default, has a name that is none end with EINVAL, not ENOENT."""


def _any_name(encoding: str) -> codecs.CodecInfo | None:
    if encoding != _ANY_NAME:
        return None
    return codecs.CodecInfo(
        lambda text, _errors="strict": codecs.utf_8_encode(text, "surrogateescape"),
        lambda data, _errors="strict": codecs.utf_8_decode(data, "surrogateescape", True),
        name=_ANY_NAME,
    )


codecs.register(_any_name)


class _Operations:
    """Has the public attributes of `operations`, so that the bindings find exactly the operations that there are.

    Bound once: a lookup on each call was a fifth of what Python does between libfuse and an operation (6.7 us).
    """

    def __init__(self, operations: object, counts: OperationCounts, complaints: Complaints) -> None:
        self._complaints = complaints
        for name in dir(operations):
            if not name.startswith("_"):
                attribute = getattr(operations, name)
                vars(self)[name] = counts.timed(name, attribute) if callable(attribute) else attribute


class _ThreadedOperations(_Operations):
    """For mfusepy. `agree` says what else is wanted of the kernel."""

    def __init__(
        self, operations: object, counts: OperationCounts, complaints: Complaints, agree: Callable[[Any], None]
    ) -> None:
        super().__init__(operations, counts, complaints)
        self._agree = agree

    def init_with_config(self, connection: Any, config: Any) -> None:  # noqa: ARG002 - mfusepy's signature
        """Lets the kernel have more reads under way than its default of 12. The mount is there."""
        self._complaints.release()
        if connection is not None:
            connection.max_background = _BACKGROUND
            connection.congestion_threshold = _BACKGROUND * 3 // 4
            self._agree(connection)


class _CallableOperations(_Operations):
    """For fusepy, which calls operations by name."""

    def init(self, _path: str) -> None:
        """The mount is there."""
        self._complaints.release()

    def __call__(self, name: str, *args: Any) -> Any:
        operation = getattr(self, name, None)
        return 0 if operation is None else operation(*args)
