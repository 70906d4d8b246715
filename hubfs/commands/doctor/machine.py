"""FUSE, libfuse, rights and limits, and a mount on trial."""

import os
import pwd
import resource
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hubfs.commands.doctor.finding import Finding, Verdict, ok, problem, warning
from hubfs.daemon.spawn import spawn
from hubfs.errors import HubfsError, MountFailed
from hubfs.formats.inflating import process as worker_process
from hubfs.fuse.mounting import lets_others_in
from hubfs.fuse.passthrough import Passthrough
from hubfs.fuse.serving import load
from hubfs.memory_budget import available_memory_bytes
from hubfs.mounts import table as mount_table
from hubfs.mounts.taking import detach, unmount
from hubfs.settings.config import Config

_FEW_DESCRIPTORS = 1024


@dataclass(frozen=True)
class Machine:
    """Where things are that mounting needs; as root or not."""

    device: Path = Path("/dev/fuse")
    fuse_conf: Path = Path("/etc/fuse.conf")
    is_root: bool = os.geteuid() == 0


def examine(config: Config, machine: Machine) -> Iterator[Finding]:
    """Everything on this machine that is not storage. The mount on trial comes last, if there is a device for it."""
    device = fuse_device(machine.device)
    yield device
    passthrough = Passthrough.on_this_machine(config.cache_dir, verify_each_read=config.verify_each_read)
    serving = fuse_library(config, passthrough)
    yield serving
    if serving.verdict is not Verdict.PROBLEM:
        yield reading_by_the_kernel(passthrough)
    yield unmounting(machine)
    if config.allow_other:
        yield others_may_read(machine)
    yield inflating()
    yield from limits(config)
    if Verdict.PROBLEM not in (device.verdict, serving.verdict):
        yield mounting()


def fuse_device(device: Path) -> Finding:
    """Whether the kernel's side of FUSE can be opened."""
    try:
        os.close(os.open(device, os.O_RDWR))
    except FileNotFoundError:
        return problem(
            "FUSE",
            f"there is no {device}",
            "load the module (modprobe fuse); in a container: --device /dev/fuse --cap-add SYS_ADMIN",
        )
    except OSError as error:
        return problem(
            "FUSE",
            f"{device} cannot be opened ({error.strerror})",
            f"its rights should be 0666 (chmod 0666 {device}); in a container: --device /dev/fuse --cap-add SYS_ADMIN",
        )
    return ok("FUSE", f"{device} can be opened")


def fuse_library(config: Config, passthrough: Passthrough) -> Finding:
    """How a mount would be served: by the kernel session, or by which libfuse."""
    try:
        found = load(config.fuse_library, passthrough).description
    except MountFailed as error:
        return problem("serving", str(error), "apt-get install fuse3, or your distribution's package of libfuse 3")
    if "libfuse.so.2" in found:
        return warning("serving", found, "the kernel session reads eight times as much at once: --fuse-library auto")
    return ok("serving", found)


def reading_by_the_kernel(passthrough: Passthrough) -> Finding:
    """Whether a mount would have the kernel read whole files of the disk cache itself. Without it, all is slower."""
    if passthrough.refusal is not None:
        return ok("passthrough", f"off, because {passthrough.refusal}")
    return ok("passthrough", "the kernel reads whole files of the disk cache itself")


def unmounting(machine: Machine) -> Finding:
    """The program that takes mounts off, and for other users than root puts them on, too."""
    found = shutil.which("fusermount3") or shutil.which("fusermount")
    advice = "apt-get install fuse3"
    if found is None:
        if machine.is_root and shutil.which("umount"):
            return ok("fusermount", "not installed; root does with umount")
        return problem("fusermount", "not installed", advice)
    mode = os.stat(found)  # noqa: PTH116 - what the symlink leads to is meant
    if not machine.is_root and not (mode.st_mode & stat.S_ISUID and mode.st_uid == 0):
        return problem(
            "fusermount",
            f"{found} is not set-uid root, so only root can mount",
            f"chown root {found}; chmod 4755 {found}",
        )
    if not machine.is_root and not _has_a_name(os.getuid()):
        return problem(
            "fusermount",
            f"user {os.getuid()} has no name, and fusermount mounts for nobody who has none",
            "give this user a line in /etc/passwd, in a container when its image is built; or mount as root",
        )
    return ok("fusermount", found)


def _has_a_name(user: int) -> bool:
    try:
        pwd.getpwuid(user)
    except KeyError:
        return False
    return True


def others_may_read(machine: Machine) -> Finding:
    """Whether `--allow-other`, which is asked for, is allowed."""
    subject = "--allow-other"
    if machine.is_root:
        return ok(subject, "root may")
    if lets_others_in(machine.fuse_conf):
        return ok(subject, f"{machine.fuse_conf} allows it")
    return problem(
        subject, f"{machine.fuse_conf} does not allow it", f"as root: echo user_allow_other >> {machine.fuse_conf}"
    )


def inflating() -> Finding:
    """Whether the process that inflates archives can do nothing else."""
    lacking = worker_process.unconfined_by()
    if lacking:
        return warning(
            "sandbox",
            f"the process that inflates archives is not confined, for want of: {lacking}",
            "Linux 5.13 or newer; a container's seccomp filter must allow landlock_* and seccomp; "
            "--require-sandbox refuses mounts without",
        )
    return ok("rapidgzip", "its process, which inflates archives, is confined")


def limits(config: Config) -> Iterator[Finding]:
    """Memory and descriptors."""
    available_bytes = available_memory_bytes()
    said = f"{config.memory_size_bytes >> 20} MiB of {available_bytes >> 20} MiB are for the daemon"
    if config.memory_size_bytes > available_bytes // 2:
        yield warning("memory", said, "leave at least half to the programs that read: --memory-size")
    else:
        yield ok("memory", said)
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if descriptors != resource.RLIM_INFINITY and descriptors < _FEW_DESCRIPTORS:
        yield warning("descriptors", f"at most {descriptors} files may be open", f"ulimit -n {_FEW_DESCRIPTORS}")
    else:
        yield ok("descriptors", f"{'any number of' if descriptors < 0 else descriptors} files may be open")


def mounting() -> Finding:
    """Mounts a hub that nobody asks anything, reads a control file of it, and takes it off."""
    with tempfile.TemporaryDirectory(prefix="hubfs-doctor-") as folder:
        mountpoint = Path(folder, "mount")
        mountpoint.mkdir()
        started_s = time.monotonic()
        try:
            spawn(["mount", str(mountpoint), "--hub", "http://127.0.0.1:9", "--no-disk-cache"], None)
            version = (mountpoint / ".hubfs" / "version").read_text(encoding="ascii").strip()
            unmount(mountpoint)
        except (HubfsError, OSError) as error:
            if mount_table.is_mounted(mountpoint):
                detach(mountpoint)
            return problem(
                "a mount on trial",
                str(error),
                "see the lines above; in a container: --cap-add SYS_ADMIN, and AppArmor off",
            )
    return ok(
        "a mount on trial", f"hubfs {version} mounted, read and unmounted in {time.monotonic() - started_s:.1f} s"
    )
