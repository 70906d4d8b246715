"""The times that files show: pure functions of what the origin told and of the version."""

from functools import lru_cache
from hashlib import blake2b

from hubfs.blobs.stamp import Stamp

_NS = 10**9
_REMEMBERED = 10_000

BASE_S = 946_684_800
"""2000-01-01T00:00:00Z: the time of directories above models, and where the times of undated models begin. Not the
epoch, which `tar` and `make` take for "unknown"."""

EARLIEST_S, LATEST_S = 315_532_800, 4_102_444_800
"""1980-01-01 and 2100-01-01: what an origin dates before or after is no date. cpio's and zip's fields end there."""

RESIDUES = 257
"""So many seconds share the versions of a model whose dates lie close together. A prime, or versions that are Unix
times of daily exports would have one second every other day: 2 · 86400 is a multiple of 256."""

UNDATED_RESIDUES = 100_000_007
"""Undated models have their versions alone, over three years. A prime, larger than a version that is a date."""


@lru_cache(_REMEMBERED)
def time_ns(version: str, stamp: Stamp) -> int:
    """The time of what `stamp` is of, in a model of this `version`: nanoseconds since the epoch.

    Versions that are numbers are ordered; another version, such as a commit, counts as its hash.

    Whole seconds differ between versions of a model, since rsync and nginx compare no more: of two versions whose
    numbers do not differ by a multiple of `RESIDUES` (`UNDATED_RESIDUES` where the origin tells no date), no two times
    fall into one second. Versions that were made later are later, and of those that were made at once, the larger one.

    The time is up to `2 * RESIDUES` seconds later than the origin's date, never earlier: `make` and `cp -u`, which
    compare with the time at which a copy was made, do something twice, and never pass over a version that was published
    since. The nanoseconds tell apart what has one version and one date, and other bytes.
    """
    number = int(version) if version.isdecimal() else _hashed(version)
    if stamp.made_s is None or not EARLIEST_S <= stamp.made_s < LATEST_S:
        second = BASE_S + number % UNDATED_RESIDUES
    else:
        second = (stamp.made_s // RESIDUES + 1) * RESIDUES + number % RESIDUES
    return second * _NS + _hashed(f"{version}\0{stamp.tag}") % _NS


def _hashed(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(errors="surrogatepass"), digest_size=8).digest(), "big")


BASE_NS = BASE_S * _NS
"""`BASE_S` in nanoseconds."""
