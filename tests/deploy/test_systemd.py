"""The units of docs/deploy/systemd: as systemd reads them, and as a real systemd runs them."""

import json
import os
import shutil
import sysconfig
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from hubfs.formats.inflating import process as worker_process
from tests.conftest import SMALL
from tests.support.another_user import NOBODY, kept_open
from tests.support.files import files
from tests.support.origin import Origin
from tests.support.own_system import OwnSystem, booted, own_system
from tests.support.paths import ROOT
from tests.support.waiting import eventually

UNITS = ROOT / "docs/deploy/systemd"
KINDS = ("system", "user")
TARGETS = ("basic", "sysinit", "shutdown", "umount", "network", "network-online", "remote-fs", "remote-fs-pre")
SCRIPTS = sysconfig.get_path("scripts")
VARIABLES = "variables/variables.data-00000-of-00001"

MANAGER = """[Service]
Type=notify
Delegate=yes
User={user}
Environment=XDG_RUNTIME_DIR=/run/user XDG_CONFIG_HOME=/etc XDG_CACHE_HOME=/run/home SYSTEMD_UNIT_PATH={units}
ExecStart=/lib/systemd/systemd --user
"""

pytestmark = [pytest.mark.mounted, pytest.mark.slow]


@dataclass
class Service:
    """An instance of the unit, on a system of its own."""

    system: OwnSystem
    name: str
    log_file: Path
    place: Path
    manager: tuple[str, ...] = ("systemctl",)

    @property
    def hub(self) -> Path:
        """Its mount, as this process sees it."""
        return self.system.seen(self.place)

    def ctl(self, verb: str) -> str:
        return self.system.run(*self.manager, verb, self.name)

    def tells(self, what: str) -> str:
        return self.system.run(*self.manager, "show", "--value", "--property", what, self.name).strip()

    def status(self) -> dict[str, object]:
        return dict(json.loads((self.hub / ".hubfs/status.json").read_bytes()))

    def set(self, **settings: str | bool) -> None:
        """Writes the config file."""
        lines = [f"{name} = {json.dumps(value)}\n" for name, value in settings.items()]
        (self.system.seen(Path("/etc/hubfs")) / "config.toml").write_text("".join(lines))

    def log(self) -> str:
        return self.log_file.read_text()


def read_until(over: threading.Event, model: Path, original: Path) -> int:
    """How often the whole model was read, each time right, until it is over."""
    rounds = 0
    while not over.is_set():
        assert files(model) == files(original)
        rounds += 1
    return rounds


@pytest.fixture(params=[*KINDS, "ordinary"])
def service(request: pytest.FixtureRequest, tmp_path: Path, servers: Origin) -> Iterator[Service]:
    """The unit for systems, or for users, whose hub is in the settings; with a space in the name of its directory.

    The user is root, or an ordinary one, who lets others read his mount.
    """
    user = NOBODY if request.param == "ordinary" else 0
    variables = {**servers.environment, **({"HUBFS_ALLOW_OTHER": "true"} if user else {})}
    for kind in KINDS:
        units = tmp_path / kind
        shutil.copytree(UNITS / kind, units)
        for target in TARGETS:
            shutil.copy(Path("/lib/systemd/system", f"{target}.target"), units)
        (units / "default.target").write_text("[Unit]\nDescription=All that there is\n")
        (units / "hubfs@.service.d").mkdir()
        environment = " ".join(f'"{name}={value}"' for name, value in variables.items())
        (units / "hubfs@.service.d/here.conf").write_text(
            f"[Service]\nExecSearchPath={SCRIPTS}:/usr/bin:/usr/sbin\nEnvironment={environment}\n"
            f"StandardError=append:{tmp_path}/log\n"
        )
    (tmp_path / "system/manager.service").write_text(MANAGER.format(units=tmp_path / "user", user=user))
    tmp_path.chmod(0o755)
    (tmp_path / "log").touch()
    os.chown(tmp_path / "log", user, user)
    with booted(tmp_path / "system", opened=kept_open(tmp_path) if user else ()) as system:
        places = ("/run/my hub", "/run/user", "/run/home")
        system.run("mkdir", "-p", "/etc/hubfs", *places)
        system.run("chown", str(user), *places)
        system.seen(Path("/etc/fuse.conf")).write_text("user_allow_other\n")
        name = system.run("systemd-escape", "--path", "--template=hubfs@.service", "/run/my hub").strip()
        service = Service(system, name, tmp_path / "log", Path("/run/my hub"))
        if request.param != "system":
            system.run("systemctl", "start", "manager")
            who = ("setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups")
            service.manager = (*who, "env", "XDG_RUNTIME_DIR=/run/user", "systemctl", "--user")
        service.set(hub=servers.url, format="compressed")
        yield service


def test_readers_see_nothing_of_a_restart_a_reload_and_a_death(service: Service, servers: Origin, small: Path) -> None:
    service.ctl("start")
    assert servers.url in service.tells("StatusText")
    assert service.tells("NFileDescriptorStore") == "2"
    first = service.tells("MainPID")
    over = threading.Event()
    with ThreadPoolExecutor(1) as pool, (service.hub / SMALL / VARIABLES).open("rb", buffering=0) as file:
        reading = pool.submit(read_until, over, service.hub / SMALL, small)
        try:
            service.ctl("restart")
            again = service.tells("MainPID")
            assert again != first

            service.set(hub=servers.url, format="compressed", log_file="/run/home/hubfs.log")
            service.ctl("reload")
            assert eventually(lambda: service.status()["log_file"] == "/run/home/hubfs.log")

            service.set(hub="nonsense:")
            service.ctl("reload")
            assert eventually(lambda: "Nothing was reloaded: 'hub' in the config file" in service.tells("StatusText"))
            assert service.tells("MainPID") == again

            service.set(hub=servers.url, format="compressed")
            service.system.run(*service.manager, "kill", "--kill-whom=main", "--signal=KILL", service.name)
            assert eventually(lambda: service.tells("MainPID") not in ("0", again))
            assert file.read() == (small / VARIABLES).read_bytes()
        finally:
            over.set()
        assert reading.result(timeout=120) > 0
        assert files(service.hub / SMALL) == files(small)
        assert service.tells("NFileDescriptorStore") == "2"
    service.ctl("stop")
    assert service.tells("Result") == "success"
    assert not (service.hub / ".hubfs").exists()
    logs = service.log() + service.system.seen(Path("/run/home/hubfs.log")).read_text()
    assert "Traceback" not in logs
    # The filter of system calls lets the process that inflates archives confine itself further.
    assert ("is not confined" in logs) == bool(worker_process.unconfined_by()), logs


@pytest.mark.parametrize("service", ["system"], indirect=True)
def test_why_it_does_not_start_is_shown(service: Service) -> None:
    service.set(hub="nonsense:")
    assert service.system.tried(*service.manager, "start", service.name).returncode != 0
    assert eventually(lambda: service.tells("ActiveState") == "failed")
    assert "cannot be used" in service.log()


def test_systemd_finds_nothing_to_say_of_the_units() -> None:
    with own_system() as system:
        system.run("ln", "-s", f"{SCRIPTS}/hubfs", "/usr/sbin/hubfs")
        for manager in KINDS:
            unit = UNITS / manager / "hubfs@.service"
            done = system.tried(
                *("systemd-analyze", f"--{manager}", "verify", "--man=no", unit),
                environment={"XDG_RUNTIME_DIR": "/run"},
            )
            assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_service_is_confined() -> None:
    with own_system() as system:
        system.run("systemd-analyze", "security", "--offline=true", "--threshold=45", UNITS / "system/hubfs@.service")
