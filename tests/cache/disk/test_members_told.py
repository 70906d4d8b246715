"""What a pass tells daemons that wait for it in the same cache directory."""

from pathlib import Path

import pytest

from hubfs.cache.disk.members_told import MembersTold


@pytest.mark.slow
def test_a_member_with_the_largest_map_of_holes_is_told_like_any_other(tmp_path: Path) -> None:
    """Its line is longer than what is read at a time: those who wait for the pass must not stop there."""
    teller, listener = (MembersTold(tmp_path / "members", tmp_path, "model") for _ in range(2))
    holes = [[(1 << 43) + number * 4096, 1 << 10] for number in range(100_000)]
    members = [{"path": "first"}, {"path": "with holes", "extents": holes}, {"path": "last"}]
    teller.begin()
    for member in members:
        teller.tell(member)
    told = []
    for _ in members:
        told += listener.news()
    assert told == members
    teller.end()
