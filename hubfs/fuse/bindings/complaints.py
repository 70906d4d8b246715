"""What libfuse and fusermount3 have to say of a mount that fails. They say it on stderr, where nobody looks."""

import contextlib
import os
import sys

_STDERR = 2
_WHO = ("fuse", "fusermount", "mount")


class Complaints:
    """Keeps what is written to stderr by anybody in this process, and by what it starts, until `release`."""

    def __init__(self) -> None:
        self._kept: int | None = None
        # Where stderr was closed, its number may be another file's by now.
        if sys.__stderr__ is not None and sys.__stderr__.fileno() == _STDERR:
            with contextlib.suppress(OSError):
                self._stderr = os.dup(_STDERR)
                self._kept = os.memfd_create("complaints")
                os.dup2(self._kept, _STDERR)

    def release(self) -> str:
        """Passes on to stderr what was kept, and returns the complaints in it. Nothing happens the second time."""
        kept, self._kept = self._kept, None
        if kept is None:
            return ""
        os.dup2(self._stderr, _STDERR)
        text = os.pread(kept, os.fstat(kept).st_size, 0)
        with contextlib.suppress(OSError):  # nobody reads it any more
            os.write(_STDERR, text)
        os.close(kept)
        os.close(self._stderr)
        return "; ".join(line for line in text.decode(errors="replace").splitlines() if line.startswith(_WHO))
