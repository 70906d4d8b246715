"""What the binding sets up around libfuse; the rest of it is tested mounted."""

import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hubfs.errors import MountFailed
from hubfs.fuse.bindings.complaints import Complaints
from hubfs.fuse.bindings.libfuse import (
    _ANY_NAME,
    READ_AHEAD_KIB,
    _CallableOperations,
    _ThreadedOperations,
    check_openness,
    raise_read_ahead,
)

NOT_EVEN_ROOT_MAY_WRITE = Path("/proc/sys/kernel/random/entropy_avail")


class Files:
    use_ns = True

    def read(self, path: str, size: int) -> bytes:
        return path.encode()[:size]


def setting_of(directory: Path, devices: Path) -> Path:
    device = directory.stat().st_dev
    setting = devices / f"{os.major(device)}:{os.minor(device)}" / "read_ahead_kb"
    setting.parent.mkdir(parents=True)
    return setting


def test_a_short_read_ahead_is_raised(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    setting = setting_of(tmp_path, tmp_path / "bdi")
    setting.write_text("128\n")
    with caplog.at_level(logging.INFO):
        assert raise_read_ahead(tmp_path, tmp_path / "bdi") == READ_AHEAD_KIB
    assert setting.read_text() == str(READ_AHEAD_KIB)
    assert [record.message for record in caplog.records] == ["The kernel reads 1024 KiB ahead (its default is 128)"]


def test_a_longer_one_is_left_alone(tmp_path: Path) -> None:
    setting = setting_of(tmp_path, tmp_path / "bdi")
    setting.write_text("8192\n")
    assert raise_read_ahead(tmp_path, tmp_path / "bdi") == 8192
    assert setting.read_text() == "8192\n"


def test_who_may_not_raise_it_is_told_in_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    setting = setting_of(tmp_path, tmp_path / "bdi")
    setting.symlink_to(NOT_EVEN_ROOT_MAY_WRITE)
    now_kib = int(NOT_EVEN_ROOT_MAY_WRITE.read_text())
    assert now_kib < READ_AHEAD_KIB
    with caplog.at_level(logging.INFO):
        assert raise_read_ahead(tmp_path, tmp_path / "bdi") == now_kib
    (record,) = caplog.records
    assert record.levelno == logging.INFO
    assert str(setting) in record.message
    assert "\n" not in record.message


@pytest.mark.parametrize("content", [None, "", "far\n"])
def test_what_is_not_known_is_no_error(tmp_path: Path, content: str | None) -> None:
    setting = setting_of(tmp_path, tmp_path / "bdi")
    if content is not None:
        setting.write_text(content)
    assert raise_read_ahead(tmp_path, tmp_path / "bdi") is None


def test_the_bindings_find_the_operations_that_there_are_and_no_others() -> None:
    complaints = Complaints()
    complaints.release()
    threaded, callable_ = _ThreadedOperations(Files(), complaints), _CallableOperations(Files(), complaints)
    operations: Any
    for operations in (threaded, callable_):
        assert operations.use_ns is True
        assert operations.read("/a/b", 2) == b"/a"
        assert not hasattr(operations, "write")
    assert callable_("read", "/a/b", 3) == b"/a/"
    assert callable_("write", "/a/b") == 0


def test_a_name_of_any_bytes_is_decoded_and_encoded_again() -> None:
    for name in (b"/google/spice", "/ünï".encode(), b"/\xff\xfe"):
        assert name.decode(_ANY_NAME) == os.fsdecode(name)
        assert name.decode(_ANY_NAME).encode(_ANY_NAME) == name


FAULTS_OF_REPEATED_BUFFERS = """
import resource, sys, threading
from hubfs.daemon.tuning import tune_process
sys.argv[1] == "default" or tune_process()

def use():
    for _ in range(100):
        replies = [bytes(1 << 20) for _ in range(8)]
        del replies

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
print(faults())
"""


@pytest.mark.skipif("CS_GNU_LIBC_VERSION" not in os.confstr_names, reason="another malloc")
def test_buffers_that_were_freed_are_used_again_without_page_faults() -> None:
    def faults(how: str) -> int:
        done = subprocess.run(
            [sys.executable, "-c", FAULTS_OF_REPEATED_BUFFERS, how], capture_output=True, text=True, check=True
        )
        return int(done.stdout)

    assert faults("kept") * 10 < faults("default")


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
