"""Directories that a hub is about to be mounted at."""

import os
from pathlib import Path

import pytest

from hubfs.errors import MountFailed
from hubfs.mounts import table as mount_table
from hubfs.mounts.point import claimed, prepare


class TestPrepare:
    def test_an_empty_directory_is_fine(self, tmp_path: Path) -> None:
        prepare(tmp_path)

    @pytest.mark.parametrize(
        ("name", "reason"),
        [("absent", "does not exist; make it first"), ("file", "is not a directory"), ("full", "is not empty")],
    )
    def test_what_cannot_be_used_is_refused_with_the_reason(self, tmp_path: Path, name: str, reason: str) -> None:
        (tmp_path / "file").touch()
        (tmp_path / "full" / "something").mkdir(parents=True)
        with pytest.raises(MountFailed, match=reason):
            prepare(tmp_path / name)

    def test_where_a_hub_is_mounted_no_other_can_be(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        table = tmp_path / "mounts"
        table.write_text(f"40 22 0:41 / {tmp_path} ro - fuse.hubfs hubfs ro,user_id=0\n", encoding="utf-8")
        monkeypatch.setattr(mount_table, "_TABLE", table)
        with pytest.raises(MountFailed, match=r"is mounted at .* already; `hubfs unmount"):
            prepare(tmp_path)

    @pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user for a moment, which takes root")
    def test_a_directory_that_may_not_be_read_is_refused_in_one_line(self, tmp_path: Path) -> None:
        secret = tmp_path / "secret"
        secret.mkdir(mode=0o700)
        os.seteuid(65534)
        try:
            with pytest.raises(MountFailed, match="cannot be used: Permission denied"):
                prepare(secret)
        finally:
            os.seteuid(0)


class TestClaimed:
    def test_of_two_at_once_one_is_refused(self, tmp_path: Path) -> None:
        with (
            claimed(tmp_path),
            pytest.raises(MountFailed, match="Another hub is just being mounted"),
            claimed(tmp_path),
        ):
            pass
        with claimed(tmp_path):
            pass

    def test_who_was_faster_meanwhile_is_seen(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        answers = iter([False, True])
        monkeypatch.setattr(mount_table, "is_dead", lambda _: False)
        monkeypatch.setattr(mount_table, "is_mounted", lambda _: next(answers))
        with pytest.raises(MountFailed, match="already"), claimed(tmp_path):
            pass
