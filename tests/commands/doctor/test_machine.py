import os
import resource

import pytest

from hubfs.commands.doctor import machine
from hubfs.commands.doctor.finding import Verdict
from hubfs.commands.doctor.machine import Machine
from hubfs.errors import MountFailed
from hubfs.fuse.passthrough import Passthrough
from hubfs.settings.config import Config


def test_a_device_that_can_be_opened_is_well(tmp_path):
    device = tmp_path / "fuse"
    device.touch()
    assert machine.fuse_device(device).verdict is Verdict.OK


def test_without_a_device_it_says_how_to_get_one(tmp_path):
    found = machine.fuse_device(tmp_path / "fuse")
    assert found.verdict is Verdict.PROBLEM
    assert "modprobe fuse" in found.advice
    assert "--device /dev/fuse" in found.advice


def test_a_device_that_cannot_be_opened_is_a_problem_of_its_rights(tmp_path):
    found = machine.fuse_device(tmp_path)  # a directory cannot be opened for writing, by root neither
    assert found.verdict is Verdict.PROBLEM
    assert "Is a directory" in found.said
    assert f"chmod 0666 {tmp_path}" in found.advice


def test_no_libfuse_is_a_problem_and_the_old_one_a_warning(monkeypatch):
    def missing(*_):
        raise MountFailed("libfuse3.so.3 is not installed")

    monkeypatch.setattr(machine, "load", missing)
    assert machine.fuse_library(Config(), Passthrough(None)).verdict is Verdict.PROBLEM

    class Old:
        description = "fuse on libfuse.so.2"

    monkeypatch.setattr(machine, "load", lambda *_: Old)
    assert machine.fuse_library(Config(), Passthrough(None)).verdict is Verdict.WARNING


@pytest.fixture
def path(monkeypatch, tmp_path):
    """A directory of programs, the only one."""
    monkeypatch.setenv("PATH", str(tmp_path))

    def add(name, mode):
        program = tmp_path / name
        program.write_text("")
        program.chmod(mode)
        return program

    return add


def test_users_need_a_fusermount_that_is_set_uid_root(path):
    user = Machine(is_root=False)
    assert machine.unmounting(user).verdict is Verdict.PROBLEM
    plain = path("fusermount3", 0o755)
    found = machine.unmounting(user)
    assert found.verdict is Verdict.PROBLEM
    assert f"chmod 4755 {plain}" in found.advice


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes programs of root's")
def test_a_set_uid_fusermount_is_well(path):
    path("fusermount3", 0o4755)
    assert machine.unmounting(Machine(is_root=False)).verdict is Verdict.OK


def test_root_does_with_umount(path):
    root = Machine(is_root=True)
    assert machine.unmounting(root).verdict is Verdict.PROBLEM
    path("umount", 0o755)
    assert machine.unmounting(root).verdict is Verdict.OK


def test_allow_other_needs_a_line_in_fuse_conf_but_for_root(tmp_path):
    conf = tmp_path / "fuse.conf"
    assert machine.others_may_read(Machine(fuse_conf=conf, is_root=False)).verdict is Verdict.PROBLEM
    conf.write_text("# The file /etc/fuse.conf\n#user_allow_other\n")
    found = machine.others_may_read(Machine(fuse_conf=conf, is_root=False))
    assert found.verdict is Verdict.PROBLEM
    assert f"echo user_allow_other >> {conf}" in found.advice
    conf.write_text("user_allow_other\n")
    assert machine.others_may_read(Machine(fuse_conf=conf, is_root=False)).verdict is Verdict.OK
    assert machine.others_may_read(Machine(fuse_conf=tmp_path / "none", is_root=True)).verdict is Verdict.OK


def test_too_much_memory_and_too_few_descriptors_are_warned_of(monkeypatch):
    monkeypatch.setattr(machine, "available_memory_bytes", lambda: 256 << 20)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 256))
    memory, descriptors = machine.limits(Config(memory_size_bytes=200 << 20))
    assert memory.verdict is Verdict.WARNING
    assert "--memory-size" in memory.advice
    assert descriptors.verdict is Verdict.WARNING
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert {found.verdict for found in machine.limits(Config(memory_size_bytes=64 << 20))} == {Verdict.OK}
