"""Which way of serving the kernel is taken."""

import os
from pathlib import Path

import pytest

from hubfs.errors import MountFailed
from hubfs.fuse.bindings import libfuse
from hubfs.fuse.mounting import FuseLibrary
from hubfs.fuse.passthrough import Passthrough
from hubfs.fuse.serving import load
from hubfs.fuse.session import device


class Library:
    description = "mfusepy on libfuse3.so.3"


@pytest.fixture(autouse=True)
def libraries(monkeypatch: pytest.MonkeyPatch) -> list[FuseLibrary]:
    """What was asked for of libfuse."""
    asked: list[FuseLibrary] = []

    def found(preference: FuseLibrary, _passthrough: Passthrough) -> type[Library]:
        asked.append(preference)
        return Library

    monkeypatch.setattr(libfuse, "load", found)
    return asked


@pytest.mark.parametrize("can_mount", [True, False], ids=["can mount", "cannot"])
def test_the_session_is_taken_where_it_can_mount_and_where_it_is_asked_for(
    can_mount: object, libraries: list[FuseLibrary], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "can_mount", lambda: can_mount)
    passthrough = Passthrough(None)
    assert load(FuseLibrary.SESSION, passthrough).description == "kernel session"
    assert (load(FuseLibrary.AUTO, passthrough).description == "kernel session") is can_mount
    assert libraries == ([] if can_mount else [FuseLibrary.AUTO])
    assert load(FuseLibrary.LIBFUSE3, passthrough).description == Library.description


def test_it_can_mount_with_the_device_as_root_or_with_fusermount(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    present = tmp_path / "fuse"
    present.touch()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(device, "DEVICE", present)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert device.can_mount()
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert not device.can_mount()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "fusermount3").touch(0o755)
    assert device.can_mount()
    monkeypatch.setattr(device, "DEVICE", tmp_path / "missing")
    assert not device.can_mount()
    with pytest.raises(MountFailed, match="no such descriptor"):
        device.mounted(Path("/dev/fd/9999"), device.MountOptions({}))
