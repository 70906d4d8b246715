"""Which way to serve the kernel: by a session of our own, or by a libfuse."""

from hubfs.fuse.bindings import libfuse
from hubfs.fuse.mounting import FuseLibrary
from hubfs.fuse.passthrough import Passthrough
from hubfs.fuse.session import device
from hubfs.fuse.session.door import KernelSession


def load(preference: FuseLibrary, passthrough: Passthrough) -> KernelSession | libfuse.Binding:
    """The way that is asked for. Raises `MountFailed` where it is not to be had on this machine."""
    if preference is FuseLibrary.SESSION or (preference is FuseLibrary.AUTO and device.can_mount()):
        return KernelSession(passthrough)
    return libfuse.load(preference, passthrough)
