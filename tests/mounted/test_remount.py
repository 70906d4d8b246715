"""What a mount knows at first, what it learns, and what is still so after it was taken off and mounted again."""

import os
from pathlib import Path

import pytest

from tests.conftest import SMALL, MountHub
from tests.support.files import files, listed
from tests.support.origin import Origin

pytestmark = [pytest.mark.mounted, pytest.mark.both_libfuses]


def test_a_publisher_is_listed_once_a_model_of_it_was_read(mount: MountHub, origin: Origin) -> None:
    with mount(origin) as hub:
        publisher, name, version = SMALL.split("/")
        assert publisher not in os.listdir(hub.path)
        assert (hub.path / SMALL / "saved_model.pb").exists()
        assert publisher in os.listdir(hub.path)
        assert os.listdir(hub.path / publisher) == [name]
        assert set(os.listdir(hub.path / publisher / name)) == {version, "latest"}


def test_times_and_inodes_are_the_same_after_a_remount(mount: MountHub, origin: Origin, small: Path) -> None:
    def seen() -> dict[str, tuple[int, ...]]:
        with mount(origin) as hub:
            stats = {name: (hub.path / SMALL / name).stat() for name in listed(small) | {""}}
            return {name: (s.st_ino, s.st_mtime_ns, s.st_ctime_ns, s.st_size) for name, s in stats.items()}

    first = seen()
    assert seen() == first
    assert len({inode for inode, *_ in first.values()}) == len(first), "two entries share an inode"


def test_after_a_remount_everything_is_read_again_without_the_origin(
    mount: MountHub, origin: Origin, small: Path
) -> None:
    with mount(origin) as hub:
        assert files(hub.path / SMALL) == files(small)
    before = (origin.requests(), origin.sent_bytes(SMALL))
    with mount(origin) as hub:
        assert files(hub.path / SMALL) == files(small)
    assert (origin.requests(), origin.sent_bytes(SMALL)) == before
