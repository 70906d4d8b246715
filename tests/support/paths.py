"""Where things are in a checkout."""

import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

WORK = ROOT / ".work"
"""What is expensive to make or fetch, and the same in every run; git ignores it."""


def copy_of_the_tree(place: Path) -> None:
    """All that wheel and sdist are built from, in the new directory `place`: a build writes beside what it builds."""
    for name in ("hubfs", "tests", "docs", "scripts"):
        shutil.copytree(ROOT / name, place / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "MANIFEST.in"):
        shutil.copy(ROOT / name, place)
