"""The kernel session, mounted and served: the door that the libfuse bindings have, too."""

import os
from collections.abc import Mapping
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
    """Mounts `Answers` without libfuse."""

    description = "kernel session"

    def __init__(self, passthrough: Passthrough) -> None:
        self._passthrough = passthrough

    def serve(
        self, answers: Answers, mountpoint: Path, *, options: Mapping[str, str | bool], timeouts: Timeouts
    ) -> None:
        """Mounts, answers the kernel until the file system is unmounted, and returns. Raises `MountFailed`."""
        asked = device.MountOptions(options)
        descriptor, table = device.mounted(mountpoint, asked), NodeTable()

        def agreed(flags: Init) -> None:
            if flags & Init.PASSTHROUGH:
                known = {number: (node.opens, node.backing_id) for number, node in table.items()}
                self._passthrough.begin(descriptor, known)
            else:
                self._passthrough.refuse("the kernel was built without it (CONFIG_FUSE_PASSTHROUGH)")

        try:
            session = Session(
                *(descriptor, table, answers, asked.timeouts(timeouts)),
                passthrough=self._passthrough,
                on_agreed=agreed,
            )
            session.run()
        except OSError as error:
            raise MountFailed(f"the session with the kernel at {mountpoint} failed: {error}") from error
        finally:
            os.close(descriptor)
            table.close()
