"""Where things are in a checkout."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

WORK = ROOT / ".work"
"""What is expensive to make or fetch, and the same in every run; git ignores it."""
