"""Which way to serve the kernel: by a session of our own, or by a libfuse."""

from hubfs.fuse.bindings import libfuse
from hubfs.fuse.mounting import FuseLibrary
from hubfs.fuse.session.door import KernelSession


def load(preference: FuseLibrary) -> KernelSession | libfuse.Binding:
    """The way that is asked for. Raises `MountFailed` where it is not to be had on this machine."""
    return KernelSession() if preference is FuseLibrary.SESSION else libfuse.load(preference)
