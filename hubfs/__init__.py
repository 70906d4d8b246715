"""hubfs: the hub as a file system."""

from importlib.metadata import version

__version__ = version("hubfs")
