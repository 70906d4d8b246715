"""hubfs: the hub as a file system."""

__version__ = "0.1.0"
"""The one place of the version: pyproject.toml reads it here."""
