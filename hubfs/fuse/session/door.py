"""The kernel session, mounted and served: the door that the libfuse bindings have, too."""

import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from hubfs.errors import MountFailed
from hubfs.fuse.answers import Answers
from hubfs.fuse.mounting import Timeouts
from hubfs.fuse.passthrough import Passthrough
from hubfs.fuse.session import device
from hubfs.fuse.session.nodes import NodeTable
from hubfs.fuse.session.protocol import Init
from hubfs.fuse.session.session import Session


class KernelSession:
    """Serves `Answers` without libfuse: a mount that it makes, or one that an earlier process made and left.

    `agreed` is set once the kernel and this process have agreed on what they speak: from then on the mount answers.
    `on_lasting` is told, before the mount answers, the descriptors of /dev/fuse and of the table of nodes, if another
    process can serve on by them when this one is dead.
    """

    description = "kernel session"

    def __init__(self, passthrough: Passthrough, left: tuple[int, int] | None = None) -> None:
        """`left`: what `on_lasting` was told in an earlier process. Raises `ValueError` if it does not fit."""
        self._passthrough = passthrough
        self._left = None if left is None else (left[0], NodeTable(left[1]))
        self.agreed = threading.Event()
        self._session: Session | None = None
        self.on_lasting: Callable[[int, int], None] = lambda _connection, _nodes: None

    @property
    def handled(self) -> int:
        """How many requests of the kernel were handled, about: one that changes says that the session goes on."""
        return 0 if self._session is None else self._session.handled

    @property
    def waiting(self) -> int:
        """How many requests are being handled."""
        return 0 if self._session is None else self._session.waiting

    def serve(
        self, answers: Answers, mountpoint: Path, *, options: Mapping[str, str | bool], timeouts: Timeouts
    ) -> None:
        """Mounts, answers the kernel until the file system is unmounted, and returns. Raises `MountFailed`."""
        asked = device.MountOptions(options)
        descriptor, table = self._left or (device.mounted(mountpoint, asked), NodeTable())

        def agreed(flags: Init) -> None:
            if flags & Init.PASSTHROUGH:
                known = {number: (node.opens, node.backing_id) for number, node in table.items()}
                self._passthrough.begin(descriptor, known)
            else:
                self._passthrough.refuse("the kernel was built without it (CONFIG_FUSE_PASSTHROUGH)")
            if flags & Init.HAS_RESEND:
                self.on_lasting(descriptor, table.descriptor)
            self.agreed.set()

        try:
            self._session = Session(
                *(descriptor, table, answers, asked.timeouts(timeouts)),
                passthrough=self._passthrough,
                on_agreed=agreed,
            )
            self._session.run()
        except OSError as error:
            raise MountFailed(f"the session with the kernel at {mountpoint} failed: {error}") from error
        finally:
            os.close(descriptor)
            table.close()
