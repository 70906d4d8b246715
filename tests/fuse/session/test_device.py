"""Options of a mount; descriptors that somebody hands over; and what fusermount3 is told, and sends."""

import os
import stat
import sys
from pathlib import Path

import pytest

from hubfs.errors import MountFailed
from hubfs.fuse.mounting import Timeouts
from hubfs.fuse.session import device
from hubfs.fuse.session.device import MountOptions
from hubfs.mounts import table as mount_table

HELPER = f"""#!{sys.executable}
import os, socket, sys
with socket.socket(fileno=int(os.environ["_FUSE_COMMFD"])) as connection:
    with open({{told!r}}, "w") as told:
        told.write("\\n".join(sys.argv[1:]))
    if sys.argv[-1].endswith("refused"):
        sys.exit("fusermount3: mount failed: not today")
    if not sys.argv[-1].endswith("silent"):
        socket.send_fds(connection, [b"x"], [os.open("/dev/null", os.O_RDWR)])
"""


def test_a_mount_is_read_only_and_trusts_nothing_in_it() -> None:
    options = MountOptions({})
    assert options.flags == 1 | 2 | 4
    assert options.data(9).split(",")[:2] == ["fd=9", "rootmode=40000"]
    assert "default_permissions" in options.data(9).split(",")
    assert set(options.text().split(",")) == {
        *("ro", "nosuid", "nodev", "default_permissions", "fsname=hubfs", "subtype=hubfs")
    }


def test_options_go_to_mount_as_flags_or_as_data() -> None:
    asked = {"noexec": True, "noatime": True, "allow_other": True, "max_read": "65536", "fsname": r"a\b", "user": True}
    options = MountOptions(asked | {"sync": False})
    assert options.flags == 1 | 2 | 4 | 8 | 1024
    assert {"allow_other", "max_read=65536"} <= set(options.data(3).split(","))
    assert {"noexec", "noatime", "allow_other", "max_read=65536", r"fsname=a\\b"} <= set(options.text().split(","))
    assert options.fsname == r"a\b"


def test_time_outs_are_the_usual_ones_unless_others_are_asked_for() -> None:
    usual = Timeouts(entry_s=100.0, attr_s=50.0, negative_s=5.0, changing_s=1.0)
    assert MountOptions({}).timeouts(usual) == usual
    asked = MountOptions({"attr_timeout": "0", "negative_timeout": "0.5"}).timeouts(usual)
    assert asked == Timeouts(entry_s=100.0, attr_s=0.0, negative_s=0.5, changing_s=0.0)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("big_writes", True, "big_writes"),
        ("noexec", "1", "noexec=1"),
        ("max_read", True, "max_read"),
        ("max_read", "many", "max_read=many"),
        ("entry_timeout", "soon", "entry_timeout=soon"),
        ("attr_timeout", "nan", "attr_timeout=nan"),
        ("negative_timeout", "-1", "negative_timeout=-1"),
        ("attr_timeout", True, "attr_timeout"),
        ("fsname", True, "fsname"),
    ],
)
def test_an_option_that_is_not_known_is_refused(name: str, value: object, said: str) -> None:
    with pytest.raises(MountFailed, match=rf"-o {said} is no option of the kernel session.*--fuse-library libfuse3"):
        MountOptions({name: value})  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("path", "number"), [("/dev/fd/7", 7), ("/dev/fd/x", None), ("/dev/fd/7/x", None), ("/mnt/7", None), ("7", None)]
)
def test_a_mount_point_may_be_a_descriptor(path: str, number: int | None) -> None:
    assert mount_table.given(Path(path)) == number


def test_a_descriptor_that_is_handed_over_is_one_of_the_device() -> None:
    with pytest.raises(MountFailed, match="/dev/fd/9999: no such descriptor"):
        device.mounted(Path("/dev/fd/9999"), MountOptions({}))
    null = os.open("/dev/null", os.O_RDWR)
    with pytest.raises(MountFailed, match=rf"/dev/fd/{null} is /dev/null, and no descriptor of /dev/fuse"):
        device.mounted(Path(f"/dev/fd/{null}"), MountOptions({}))
    os.close(null)


@pytest.fixture
def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stands for fusermount3; the file in which it writes how it was called."""
    program = tmp_path / "bin" / "fusermount3"
    program.parent.mkdir()
    program.write_text(HELPER.format(told=str(tmp_path / "told")))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    return tmp_path / "told"


def test_another_user_than_root_mounts_by_fusermount3(helper: Path) -> None:
    descriptor = device.mounted(Path("/mnt/hub"), MountOptions({"noexec": True}))
    assert stat.S_ISCHR(os.fstat(descriptor).st_mode)
    assert not os.get_inheritable(descriptor)
    os.close(descriptor)
    how, options, end, where = helper.read_text().split("\n")
    assert (how, end, where) == ("-o", "--", "/mnt/hub")
    assert "noexec" in options.split(",")


@pytest.mark.parametrize(("where", "says"), [("refused", "mount failed: not today"), ("silent", "status 0")])
def test_what_fusermount3_says_is_told(helper: Path, where: str, says: str) -> None:
    with pytest.raises(MountFailed, match=says):
        device.mounted(Path("/mnt") / where, MountOptions({}))


def test_without_fusermount3_only_root_can_mount(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(MountFailed, match="only root can mount without fusermount3"):
        device.mounted(Path("/mnt/hub"), MountOptions({}))
