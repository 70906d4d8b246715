"""Lines of fstab: what they say of a command line, and how a file gets one."""

from pathlib import Path

import pytest

from hubfs.commands import fstab
from hubfs.commands.fstab import _line, _update, updated
from hubfs.errors import MountFailed

OTHERS = b"# static\nUUID=1 / ext4 defaults 0 1\n\nproc\t/proc proc  defaults 0 0"
NEW = b"hf: /mnt/hf hubfs _netdev,nofail 0 0\n"


def test_a_line_says_what_the_command_line_did(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    flags = {
        "hub": ("a=hf:", "b=https://hub.example"),
        "cache_dir": "here",
        "allow_other": True,
        "supervise": False,
        "format": None,
        "mount_options": ("noexec,max_read=4096",),
        "memory_size": "64MiB",
    }
    options = (
        f"allow_other,cache_dir={tmp_path}/here,memory_size=64MiB,noexec,max_read=4096,no_supervise,_netdev,nofail"
    )
    expected = f"a=hf:\\040b=https://hub.example /mnt/my\\040hub hubfs {options} 0 0\n"
    assert _line(Path("/mnt/my hub"), flags) == expected.encode()
    assert _line(Path("/d"), {}) == b"hubfs /d hubfs _netdev,nofail 0 0\n"
    assert b" cache_dir=gs://bucket/x," in _line(Path("/d"), {"cache_dir": "gs://bucket/x"})


@pytest.mark.parametrize(
    "flags",
    [
        {"hub": ("https://user:secret@hub.example",)},
        {"hub": ("a=https://hub.example/?key=secret",)},
        {"cache_dir": "gs://bucket/?key=secret"},
        {"proxy_headers": ("X-Key: secret",)},
    ],
)
def test_no_secret_gets_into_a_file_that_everybody_may_read(flags: dict[str, object]) -> None:
    with pytest.raises(MountFailed, match="config file") as refused:
        _line(Path("/d"), flags)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("directory", ["/a,b", '/a"b'])
def test_what_a_line_cannot_say_is_refused(directory: str) -> None:
    with pytest.raises(MountFailed, match="--cache-dir has a comma or"):
        _line(Path("/d"), {"cache_dir": directory})


def test_a_new_line_comes_last_and_the_rest_stays() -> None:
    assert updated(b"", NEW) == NEW
    assert updated(OTHERS, NEW) == OTHERS + b"\n" + NEW
    assert updated(updated(OTHERS, NEW), NEW) == updated(OTHERS, NEW)


@pytest.mark.parametrize("old", [b"x /mnt/hf hubfs a 0 0\n", b"x\t/mnt/hf/  fuse.hubfs\n"])
def test_a_mount_point_has_one_line(old: bytes) -> None:
    commented = b"#x /mnt/hf hubfs\n\xff\xfe \n"
    assert updated(commented + old + OTHERS + b"\n" + old, NEW) == commented + NEW + OTHERS + b"\n"


def test_another_kind_of_mount_is_left_alone() -> None:
    with pytest.raises(MountFailed, match=r"of type nfs .line 1.: take that out first"):
        updated(b"host:/x /mnt/hf nfs ro 0 0\n", NEW)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that mount(8) reads, by a link."""
    monkeypatch.setenv("LIBMOUNT_FSTAB", str(tmp_path / "link"))
    (tmp_path / "etc").mkdir()
    (tmp_path / "link").symlink_to("etc/fstab")
    return tmp_path / "etc/fstab"


def test_the_file_is_replaced_as_a_whole_and_keeps_its_mode(file: Path) -> None:
    file.write_bytes(OTHERS)
    file.chmod(0o640)
    _update(NEW, dry=True)
    assert file.read_bytes() == OTHERS
    _update(NEW)
    assert file.read_bytes() == updated(OTHERS, NEW)
    assert file.stat().st_mode & 0o777 == 0o640
    before = file.stat().st_ino
    _update(NEW)
    assert file.stat().st_ino == before
    assert [*file.parent.iterdir()] == [file]


def test_a_file_that_is_missing_is_made(file: Path) -> None:
    _update(NEW)
    assert file.read_bytes() == NEW
    assert file.stat().st_mode & 0o777 == 0o644


def test_a_file_that_cannot_be_written_stays_and_the_line_is_shown(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    file.write_bytes(OTHERS)
    monkeypatch.setattr(fstab.os, "fsync", full)
    with pytest.raises(
        MountFailed, match=r"cannot be written .No space left on device.; its line would be: hf: /mnt/hf"
    ):
        _update(NEW)
    assert file.read_bytes() == OTHERS
    assert [*file.parent.iterdir()] == [file]
