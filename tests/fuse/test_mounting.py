import logging
import os
from pathlib import Path

import pytest

from hubfs.errors import MountFailed
from hubfs.fuse.mounting import READ_AHEAD_KIB, FuseLibrary, can_be_taken_over, check_openness, raise_read_ahead

NOT_EVEN_ROOT_MAY_WRITE = Path("/proc/sys/kernel/random/entropy_avail")


def setting_of(directory: Path, devices: Path) -> Path:
    device = directory.stat().st_dev
    setting = devices / f"{os.major(device)}:{os.minor(device)}" / "read_ahead_kb"
    setting.parent.mkdir(parents=True)
    return setting


def test_a_short_read_ahead_is_raised(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    setting = setting_of(tmp_path, tmp_path / "bdi")
    setting.write_text("128\n")
    with caplog.at_level(logging.INFO):
        assert raise_read_ahead(tmp_path.stat().st_dev, tmp_path / "bdi") == READ_AHEAD_KIB
    assert setting.read_text() == str(READ_AHEAD_KIB)
    assert [record.message for record in caplog.records] == ["The kernel reads 1024 KiB ahead (its default is 128)"]


def test_a_longer_one_is_left_alone(tmp_path: Path) -> None:
    setting = setting_of(tmp_path, tmp_path / "bdi")
    setting.write_text("8192\n")
    assert raise_read_ahead(tmp_path.stat().st_dev, tmp_path / "bdi") == 8192
    assert setting.read_text() == "8192\n"


def test_who_may_not_raise_it_is_told_in_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    setting = setting_of(tmp_path, tmp_path / "bdi")
    setting.symlink_to(NOT_EVEN_ROOT_MAY_WRITE)
    now_kib = int(NOT_EVEN_ROOT_MAY_WRITE.read_text())
    assert now_kib < READ_AHEAD_KIB
    with caplog.at_level(logging.INFO):
        assert raise_read_ahead(tmp_path.stat().st_dev, tmp_path / "bdi") == now_kib
    (record,) = caplog.records
    assert record.levelno == logging.INFO
    assert str(setting) in record.message
    assert "\n" not in record.message


@pytest.mark.parametrize("content", [None, "", "far\n"])
def test_what_is_not_known_is_no_error(tmp_path: Path, content: str | None) -> None:
    setting = setting_of(tmp_path, tmp_path / "bdi")
    if content is not None:
        setting.write_text(content)
    assert raise_read_ahead(tmp_path.stat().st_dev, tmp_path / "bdi") is None


@pytest.mark.parametrize("option", ["allow_other", "allow_root"])
@pytest.mark.parametrize("content", [None, "", "#user_allow_other\n", "user_allow_others\n"])
def test_who_may_not_open_a_mount_to_others_is_told_why(tmp_path: Path, option: str, content: str | None) -> None:
    conf = tmp_path / "fuse.conf"
    if content is not None:
        conf.write_text(content)
    with pytest.raises(MountFailed, match=f"{option} is for root.*{conf}.*user_allow_other"):
        check_openness({option: True}, 1000, conf)
    check_openness({}, 1000, conf)
    check_openness({option: True}, 0, conf)


def test_who_may_is_let(tmp_path: Path) -> None:
    conf = tmp_path / "fuse.conf"
    conf.write_text("# mount_max = 10\n  user_allow_other\n")
    check_openness({"allow_other": True}, 1000, conf)


def test_what_outlives_its_daemon_is_the_session_on_a_linux_that_sends_again() -> None:
    assert can_be_taken_over(FuseLibrary.SESSION, "6.9.0-rc1")
    assert can_be_taken_over(FuseLibrary.AUTO, "10.0")
    assert not can_be_taken_over(FuseLibrary.SESSION, "6.8.12-amd64")
    assert not can_be_taken_over(FuseLibrary.LIBFUSE3, "6.18")
    assert not can_be_taken_over(FuseLibrary.LIBFUSE2, "6.18")
