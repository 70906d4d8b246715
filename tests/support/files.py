"""Directories as values, to compare them."""

from pathlib import Path


def files(directory: Path) -> dict[str, bytes]:
    """Relative path → bytes, of every file below."""
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def listed(directory: Path) -> set[str]:
    """Relative paths of everything below."""
    return {str(path.relative_to(directory)) for path in directory.rglob("*")}
