"""Who may read a mount, what it tells of secrets, and whom a hub can make it ask; docs/SECURITY.md says why."""

import errno
import hashlib
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from hubfs.mounts import presence
from tests.conftest import SMALL, MountHub
from tests.support.certificates import self_signed
from tests.support.figures import Figures
from tests.support.http_origin import Answer, DeadPort, HttpOrigin, redirect, stall_first, status, wire
from tests.support.kaggle import KaggleStandIn
from tests.support.kaggle_replies import instead, refusal, too_many
from tests.support.mount import Machine, Mount, mounted
from tests.support.network import in_network_of
from tests.support.origin import Origin
from tests.support.service_account import service_account
from tests.support.waiting import eventually

pytestmark = pytest.mark.mounted

NOBODY = ("--reuid=65534", "--regid=65534", "--clear-groups")
ROOT_WITHOUT_RIGHTS = ("--inh-caps=-all", "--bounding-set=-all")
ONLY_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")


def as_somebody(who: tuple[str, ...], *command: str | Path, below: Path) -> "subprocess.CompletedProcess[str]":
    """Runs a command as somebody else, in a directory that we opened: no directory above it is in the way."""
    return subprocess.run(
        ["setpriv", *who, *command], cwd=below, capture_output=True, errors="replace", check=False, timeout=30
    )


@ONLY_ROOT
@pytest.mark.both_libfuses
class TestAnotherUser:
    COMMANDS = (
        ("cat", ".hubfs/version"),
        ("cat", f"{SMALL}/saved_model.pb"),
        ("ls", "-A", "."),
        ("stat", SMALL),
        ("test", "-e", SMALL),
        ("readlink", f"{SMALL}/../latest"),
    )

    def test_is_shut_out(self, mount: MountHub, servers: Origin, figures: Figures) -> None:
        with mount(servers) as hub:
            assert (hub.path / SMALL / "saved_model.pb").read_bytes()  # in all caches
            for command in self.COMMANDS:
                done = as_somebody(NOBODY, *command, below=hub.path)
                assert done.returncode != 0, command
                assert done.stdout == "", command
                figures.add("security", refused=1)
            assert "Permission denied" in as_somebody(NOBODY, "cat", ".hubfs/version", below=hub.path).stderr
            self._the_kernel_checks(hub)
            (daemon,) = hub.pids()
            self._nobody_looks_into(daemon)

    def test_may_read_and_not_write_with_allow_other(self, mount: MountHub, servers: Origin) -> None:
        with mount(servers, "--allow-other") as hub:
            for command in self.COMMANDS:
                done = as_somebody(NOBODY, *command, below=hub.path)
                assert done.returncode == 0, (command, done.stderr)
            read = as_somebody(NOBODY, "md5sum", f"{SMALL}/saved_model.pb", below=hub.path)
            assert read.stdout[:32] == hashlib.md5((hub.path / SMALL / "saved_model.pb").read_bytes()).hexdigest()
            done = as_somebody(NOBODY, "touch", f"{SMALL}/saved_model.pb", below=hub.path)
            assert done.returncode != 0
            assert "denied" in done.stderr or "Read-only" in done.stderr

    def _the_kernel_checks(self, hub: Mount) -> None:
        """The modes, and that nothing there is a device or a program with rights."""
        (line,) = [line for line in Path("/proc/mounts").read_text().splitlines() if f" {hub.path} " in line]
        options = set(line.split(" ")[3].split(","))
        assert {"ro", "nosuid", "nodev", "default_permissions"} <= options
        assert "allow_other" not in options

    def _nobody_looks_into(self, daemon: int) -> None:
        """Not even its own user: a token is in its memory. No core of it is ever written."""
        for who in (NOBODY, ROOT_WITHOUT_RIGHTS):
            for name in ("environ", "mem", "maps"):
                done = as_somebody(who, "head", "-c", "1", f"/proc/{daemon}/{name}", below=Path("/"))
                assert "Permission denied" in done.stderr, (who, name)
        limits = Path(f"/proc/{daemon}/limits").read_text().splitlines()
        (core,) = [line for line in limits if line.startswith("Max core file size")]
        assert core.split()[4:6] == ["0", "0"]


@ONLY_ROOT
def test_another_user_who_takes_the_names_of_a_mount_first_is_not_in_its_way(tmp_path: Path, machine: Machine) -> None:
    where = tmp_path / "m"
    where.mkdir()
    program = (
        "import os, sys; from hubfs.mounts import presence; os.setresuid(65534, 65534, 65534);"
        "kept = [presence.announce(name) for name in sys.argv[1:]]; print(1, flush=True); sys.stdin.read()"
    )
    names = [presence.of_supervisor(where), presence.of_mounting(where)]
    with HttpOrigin() as hub, subprocess.Popen([sys.executable, "-c", program, *names], stdin=-1, stdout=-1) as other:
        assert other.stdout is not None
        other.stdout.readline()
        done = machine.hubfs("mount", where, "--hub", hub.url, "--no-disk-cache", "--supervise")
        assert done.returncode == 0, done.stderr
        done = machine.hubfs("unmount", where)
        assert done.returncode == 0, done.stderr
        assert other.poll() is None
        other.kill()


class Secrets:
    """Texts that must not be found anywhere; each is in one place of what a user configures, or a host says."""

    def __init__(self) -> None:
        self.planted: dict[str, str] = {}

    def plant(self, where: str) -> str:
        """A new one."""
        self.planted[where] = f"S3CR3T{len(self.planted):02}{where.upper().replace(' ', '')}"
        return self.planted[where]

    def found_in(self, text: str) -> list[str]:
        return [where for where, secret in self.planted.items() if secret in text]


class Leaky:
    """A hub that meets every fault there is, behind URLs with secrets in them."""

    def __init__(self, secrets: Secrets, home: Path, opened: ExitStack) -> None:
        self.hub = opened.enter_context(HttpOrigin())
        self.store = opened.enter_context(HttpOrigin())
        tls = opened.enter_context(HttpOrigin(self_signed(home)))
        dead = opened.enter_context(DeadPort())
        self.errnos: dict[str, set[int]] = {}

        def leads(name: str, to: str, *errnos: int) -> None:
            signature = secrets.plant(f"query of {name}")
            self.hub.route(f"/leaky/{name}/1", redirect(f"{to}?X-Goog-Signature={signature}&Expires=1"))
            self.errnos[name] = set(errnos)

        unreachable, denied, damaged = errno.EHOSTUNREACH, errno.EACCES, errno.EIO
        for code, *errnos in (
            (401, denied),
            (403, denied),
            (404, errno.ENOENT),
            (400, unreachable),
            (500, unreachable),
        ):
            leads(f"s{code}", f"{self.store.url}/s{code}", *errnos)
            self.store.always(f"/s{code}", status(code, {}, f"no: {secrets.plant(f'body of {code}')}".encode()))
        leads("silent", f"{self.store.url}/silent", errno.ETIMEDOUT)
        self.store.always("/silent", stall_first())
        leads("refused", f"{dead.url}/a", unreachable)
        leads("unnamed", "http://unnamed.invalid/a", unreachable)
        leads("tls", f"{tls.url}/a", unreachable)
        leads("loop", f"{self.hub.url}/leaky/loop/1", unreachable)
        leads("scheme", "ftp://127.0.0.1/a", unreachable)
        leads("userinfo", f"http://me:{secrets.plant('userinfo of a location')}@127.0.0.1:1/a", unreachable)
        leads("proxied", "http://proxied.example/a", unreachable)
        leads("damaged", f"{self.store.url}/damaged", damaged)
        self.store.put("/damaged", b"\x1f\x8b\x08" + bytes(200_000))
        leads("garbled", f"{self.store.url}/garbled", damaged, unreachable)
        # A line that is no header: urllib3 warns of it, with the whole URL.
        self.store.always("/garbled", wire(b"HTTP/1.1 200 OK\r\nnonsense\r\nContent-Length: 3\r\n\r\nabc"))
        leads("good", f"{self.store.url}/good")
        archive = home / "good.tar.gz"
        with tarfile.open(archive, "w:gz") as tar:
            tar.add(__file__, "saved_model.pb")
        self.store.put("/good", archive.read_bytes(), etag='"1"')
        self.hub.route("/leaky/bucket/1", lambda _: Answer(303, {}, b"gs://locked/model"))
        self.errnos["bucket"] = {denied, unreachable}


@pytest.fixture
def secrets() -> Secrets:
    return Secrets()


@pytest.fixture
def leaky(tmp_path: Path, secrets: Secrets) -> Iterator[Leaky]:
    (tmp_path / "leaky").mkdir()
    with ExitStack() as opened:
        yield Leaky(secrets, tmp_path / "leaky", opened)


def outcome(model: Path) -> tuple[int, str]:
    """What a reader gets, and what the mount says of it."""
    try:
        (model / "saved_model.pb").read_bytes()
    except OSError as error:
        try:
            return error.errno or 0, os.getxattr(model, "user.hubfs.error").decode()
        except OSError:
            return error.errno or 0, ""
    return 0, "".join(os.getxattr(model, f"user.hubfs.{name}").decode() for name in ("handle", "url", "form"))


def all_it_wrote(hub: Mount, *roots: Path) -> dict[str, str]:
    """Everything that it shows or wrote, by where."""
    mounts = [line for line in Path("/proc/mounts").read_text().splitlines() if f" {hub.path} " in line]
    shown = {"log": hub.log(), "/proc/mounts": "\n".join(mounts)}
    for path in (hub.path / ".hubfs").iterdir():
        if path.is_file():
            shown[str(path)] = path.read_text()
    for arguments in (("status", hub.path), ("status", hub.path, "--json"), ("resolve", "leaky/s403/1")):
        done = hub.machine.hubfs(*arguments)
        shown[f"hubfs {arguments[0]} {arguments[-1]}"] = done.stdout + done.stderr
    for pid in hub.pids():
        for name in ("cmdline", "comm"):
            shown[f"{name} of {pid}"] = Path(f"/proc/{pid}/{name}").read_text()
    for root in roots:
        for path in root.rglob("*"):
            shown[f"name of {path.name}"] = str(path.relative_to(root))
            if path.is_file():
                shown[str(path)] = path.read_bytes().decode("latin-1")
    return shown


def test_no_secret_is_in_anything_that_is_written_or_shown(
    tmp_path: Path, machine: Machine, leaky: Leaky, secrets: Secrets, figures: Figures
) -> None:
    password = secrets.plant("password of the hub")
    secrets.planted["password in base64"] = b64encode(f"me:{password}".encode()).decode()
    proxy_password = secrets.plant("password of the proxy")
    (tmp_path / "netrc").write_text(f"machine 127.0.0.1 login me password {secrets.plant('netrc')}\n")
    account = service_account(f"{leaky.store.url}/{secrets.plant('token uri')}", secrets.plant("key id"))
    (tmp_path / "account.json").write_text(account)
    secrets.planted["private key"] = json.loads(account)["private_key"].splitlines()[3]
    machine = machine.with_environment(
        NETRC=str(tmp_path / "netrc"),
        HUBFS_TOKEN=secrets.plant("token"),
        HUBFS_HEADERS=f"X-Api-Key: {secrets.plant('header')}",
        GOOGLE_APPLICATION_CREDENTIALS=str(tmp_path / "account.json"),
        HUBFS_STALL_TIMEOUT="300ms",
        STORAGE_EMULATOR_HOST=leaky.store.url,
        http_proxy=f"http://me:{proxy_password}@127.0.0.1:9",
        no_proxy="127.0.0.1,unnamed.invalid",
    )
    hub_url = f"http://me:{password}@{leaky.hub.host}"
    cache = tmp_path / "cache"
    with mounted(machine, tmp_path / "hub", hub_url, "--log-level", "debug", "--cache-dir", cache) as hub:
        with ThreadPoolExecutor(len(leaky.errnos)) as pool:
            models = [hub.path / "leaky" / name / "1" for name in leaky.errnos]
            outcomes = dict(zip(leaky.errnos, pool.map(outcome, models), strict=True))
        for name, errnos in leaky.errnos.items():
            assert outcomes[name][0] in (errnos or {0}), (name, outcomes[name])
        shown = all_it_wrote(hub, cache, machine.home, machine.temp)
        shown |= {f"xattr of {name}": said for name, (_, said) in outcomes.items()}
        shown["hubfs resolve --gcs"] = str(machine.hubfs("resolve", "leaky/s403/1", "--gcs", "--hub", hub_url))[200:]
    assert any("authorization" in request.headers for request in leaky.hub.requests)
    assert "leaky/s500" in shown["log"]
    leaks = {where: found for where, text in shown.items() if (found := secrets.found_in(text))}
    found = sum(len(one) for one in leaks.values())
    figures.add("security", secrets_planted=len(secrets.planted), places_searched=len(shown), secrets_found=found)
    assert leaks == {}
    assert len(shown) > 30


class KaggleUser:
    """Ways to sign in at Kaggle, each with secrets of its own: variables of the environment, and files."""

    def __init__(self, secrets: Secrets, kaggle: KaggleStandIn, machine: Machine) -> None:
        self._secrets, self._kaggle, self._home = secrets, kaggle, machine.home
        (machine.home / ".kaggle").mkdir(parents=True)

    def _write(self, name: str, text: str) -> None:
        (self._home / ".kaggle" / name).write_text(text)

    def _token(self, where: str) -> str:
        token = self._secrets.plant(where)
        self._kaggle.tokens[token] = "reader"
        return token

    def _key(self, where: str) -> str:
        key = self._secrets.plant(where)
        self._secrets.planted[f"{where} in base64"] = b64encode(f"me:{key}".encode()).decode()
        self._kaggle.keys["me"] = key
        return key

    def variable(self) -> dict[str, str]:
        return {"KAGGLE_API_TOKEN": self._token("token of Kaggle")}

    def notebook(self) -> dict[str, str]:
        self._write("notebook", self._token("token of a notebook"))
        return {"KAGGLE_KERNEL_RUN_TYPE": "Batch", "KAGGLE_API_V1_TOKEN": str(self._home / ".kaggle/notebook")}

    def file(self) -> dict[str, str]:
        self._write("access_token", self._token("access token"))
        return {}

    def key(self) -> dict[str, str]:
        return {"KAGGLE_USERNAME": "me", "KAGGLE_KEY": self._key("key of Kaggle")}

    def json(self) -> dict[str, str]:
        self._write("kaggle.json", json.dumps({"username": "me", "key": self._key("kaggle json")}))
        return {}

    def oauth(self) -> dict[str, str]:
        refresh, access = self._secrets.plant("refresh token"), self._secrets.plant("expired token")
        self._kaggle.refresh_tokens[refresh] = "reader"
        self._write("credentials.json", json.dumps({"refresh_token": refresh, "access_token": access}))
        return {}

    def of_the_hub(self) -> dict[str, str]:
        return {"HUBFS_TOKEN": self._token("token of the hub")}


@pytest.mark.parametrize("way", ["variable", "notebook", "file", "key", "json", "oauth", "of_the_hub"])
def test_no_secret_of_kaggle_is_in_anything_that_is_written_or_shown_nor_sent_to_the_store(
    tmp_path: Path, machine: Machine, secrets: Secrets, way: str
) -> None:
    variation = "keras/a"
    with KaggleStandIn() as kaggle:
        for name in ("good", "private", "gated", "broken", "busy"):
            kaggle.put(f"leaky/{name}/{variation}/1", {"saved_model.pb": name.encode()})
        kaggle.private.add("leaky/private")
        kaggle.gated.add("leaky/gated")
        signs_in = getattr(KaggleUser(secrets, kaggle, machine), way)()
        machine = machine.with_environment(HUBFS_KAGGLE_ENDPOINT=kaggle.url, **signs_in)
        cache = tmp_path / "cache"
        with mounted(machine, tmp_path / "hub", "kaggle:", "--log-level", "debug", "--cache-dir", cache) as hub:
            outcomes = {"good": outcome(hub.path / "leaky/good" / variation / "1")}
            for name in ("private", "gated", "missing"):
                outcomes[name] = outcome(hub.path / "leaky" / name / variation / "1")
            assert (hub.path / "leaky/broken" / variation / "1/saved_model.pb").exists()
            kaggle.script("store", *[instead(refusal(403, "SignatureDoesNotMatch"))] * 9)
            outcomes["broken"] = outcome(hub.path / "leaky/broken" / variation / "1")
            kaggle.script("ListModelInstanceVersionFiles", too_many(3000))
            outcomes["busy"] = outcome(hub.path / "leaky/busy" / variation / "1")
            elsewhere = [path for path in machine.home.iterdir() if path.name != ".kaggle"]
            shown = all_it_wrote(hub, cache, machine.temp, *elsewhere)
            shown |= {f"xattr of {name}": said for name, (_, said) in outcomes.items()}
        done = machine.hubfs("doctor", "--hub", "kaggle:")
        shown["hubfs doctor"] = done.stdout + done.stderr
    assert {name: code for name, (code, _) in outcomes.items()} == {
        "good": 0,
        "private": errno.EACCES,
        "gated": errno.EACCES,
        "missing": errno.ENOENT,
        "broken": errno.EACCES,
        "busy": errno.EHOSTUNREACH,
    }
    secrets.planted |= {f"a token that Kaggle gave, {number}": token for number, token in enumerate(kaggle.tokens)}
    assert kaggle.users >= {"me" if way in ("key", "json") else "reader"}, "nobody signed in"
    assert {where: found for where, text in shown.items() if (found := secrets.found_in(text))} == {}
    assert not [where for where, text in shown.items() if "X-Goog-Signature" in text]
    assert kaggle.stored
    assert not [asked for asked in kaggle.stored if secrets.found_in(repr(asked)) or "authorization" in asked.headers]


def test_a_command_that_fails_says_no_secret(tmp_path: Path, machine: Machine, secrets: Secrets) -> None:
    secret = secrets.plant("anything")
    (tmp_path / "m").mkdir()
    (tmp_path / "key").write_text(json.dumps({"type": "service_account", "private_key": secret}))
    for options, environment in (
        (("--cache-dir", f"nonsense://me:{secret}@bucket/x?key={secret}"), {}),
        (("--hub", "http://127.0.0.1:9"), {"HUBFS_GCS_TOKEN": str(tmp_path / "key")}),
        (("--hub", "http://127.0.0.1:9"), {"HUBFS_GCS_TOKEN": secret}),
    ):
        done = machine.with_environment(**environment).hubfs("mount", tmp_path / "m", *options)
        assert done.returncode == 1, (options, environment)
        assert secrets.found_in(done.stdout + done.stderr) == [], (options, environment, done.stderr)
        assert len(done.stderr.splitlines()) == 1, done.stderr


def test_what_hosts_say_and_names_that_readers_ask_for_are_text_in_a_terminal_and_one_line_in_the_log(
    tmp_path: Path, machine: Machine
) -> None:
    retitle = "\x1b]0;owned\x07"
    with HttpOrigin() as hub:
        hub.route("/leaky/model/1", lambda _: Answer(200, {"Content-Type": f"a/b{retitle}"}, bytes(5000)))
        with tarfile.open(tmp_path / "hostile.tar.gz", "w:gz") as tar:
            tar.add(__file__, "../saved_model.pb")
        hub.put("/leaky/hostile/1", (tmp_path / "hostile.tar.gz").read_bytes(), etag='"1"')
        with mounted(machine, tmp_path / "hub", hub.url, "--format", "compressed") as where:
            for path in ("model/1", f"hostile/1/x{retitle}\n2026-01-01 ERROR hubfs: forged"):
                with pytest.raises(OSError, match="Input/output error"):
                    (where.path / "leaky" / path).stat()
            shown = {"status": where.machine.hubfs("status", where.path).stdout, "log": where.log()}
            shown["xattr"] = where.error_of(where.path / "leaky/model")
            shown["recent problems"] = "\n".join(where.status()["recent_problems"])
    for name, text in shown.items():
        assert r"a/b\x1b]0;owned\x07" in text, name
        assert all(line.isprintable() for line in text.splitlines()), name
        assert not [line for line in text.splitlines() if line.startswith("2026-01-01")], name
    assert r"\n2026-01-01 ERROR hubfs: forged" in shown["log"]


class TestCertificates:
    def test_nothing_is_read_from_a_host_that_cannot_show_who_it_is(self, tmp_path: Path, machine: Machine) -> None:
        with HttpOrigin(self_signed(tmp_path)) as hub, mounted(machine, tmp_path / "hub", hub.url) as where:
            got, said = outcome(where.path / "leaky/model/1")
            assert got == errno.EHOSTUNREACH
            assert hub.requests == []
            assert "not trusted" in where.log() + said
            assert where.status()["certificates_verified"] is True

    def test_verifying_none_is_said_wherever_somebody_looks(self, tmp_path: Path, machine: Machine) -> None:
        careless = machine.with_environment(TFHUB_DISABLE_CERT_VALIDATION="true")
        where, log = tmp_path / "m", tmp_path / "log"
        where.mkdir()
        with tarfile.open(tmp_path / "good.tar.gz", "w:gz") as tar:
            tar.add(__file__, "saved_model.pb")
        with HttpOrigin(self_signed(tmp_path)) as hub:
            hub.put("/leaky/model/1", (tmp_path / "good.tar.gz").read_bytes(), etag='"1"')
            done = careless.hubfs("mount", where, "--hub", hub.url, "--no-disk-cache", "--log-file", log)
            try:
                assert done.returncode == 0, done.stderr
                assert "WARNING: certificates are not verified (TFHUB_DISABLE_CERT_VALIDATION)" in done.stderr
                assert (where / "leaky/model/1/saved_model.pb").read_bytes() == Path(__file__).read_bytes()
                said = json.loads((where / ".hubfs/status.json").read_bytes())
                assert said["certificates_verified"] is False
                assert any("not verified" in problem for problem in said["recent_problems"])
                assert "WARNING" in log.read_text()
                assert "certificates are not verified" in careless.hubfs("status", where).stdout
            finally:
                assert careless.hubfs("unmount", where).returncode == 0

    def test_what_came_unverified_is_served_by_no_mount_that_verifies(self, tmp_path: Path, machine: Machine) -> None:
        careless = machine.with_environment(TFHUB_DISABLE_CERT_VALIDATION="true")
        shared = tmp_path / "shared"
        with HttpOrigin(self_signed(tmp_path)) as forged:
            host_versions(forged, "/leaky/model", b"forged")
            with mounted(careless, tmp_path / "hub", forged.url, "--cache-dir", shared.as_uri()) as where:
                assert (where.path / "leaky/model/latest/saved_model.pb").read_bytes() == b"forged"
                assert eventually(lambda: where.status()["models"][0]["complete"])
                assert "The shared cache is not used" in where.log()
                assert "certificates are not verified" in careless.hubfs("status", where.path).stdout
        assert not list(shared.rglob("*"))
        for options in ([], ["--offline"], ["--cache-dir", shared.as_uri()]):
            with mounted(machine, tmp_path / "hub", forged.url, *options) as where:
                for version in ("1", "latest"):
                    with pytest.raises(OSError, match="No route to host"):
                        (where.path / "leaky/model" / version / "saved_model.pb").read_bytes()
                assert "leaky" not in os.listdir(where.path)
        with mounted(careless, tmp_path / "hub", forged.url, "--offline") as where:
            assert (where.path / "leaky/model/latest/saved_model.pb").read_bytes() == b"forged"
            assert "certificates are not verified" in careless.hubfs("status", where.path).stdout


def host_versions(hub: HttpOrigin, name: str, data: bytes) -> None:
    """Hosts version 1 of a model whose one file is `data`, which is the latest."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "saved_model.pb")
        file.write_bytes(data)
        with tarfile.open(Path(folder, "model.tar.gz"), "w:gz") as tar:
            tar.add(file, file.name)
        hub.put(f"{name}/1", Path(folder, "model.tar.gz").read_bytes(), etag='"1"')
    hub.route(name, redirect(f"{name}/1"))


@ONLY_ROOT
def test_a_hub_in_the_world_cannot_have_a_mount_ask_inside(tmp_path: Path, machine: Machine) -> None:
    """A cloud's machine hands out its credentials to whoever asks it at 169.254.169.254, from inside."""
    public, metadata = "8.8.4.4", "169.254.169.254"

    def read() -> None:
        with HttpOrigin(address=public) as hub, HttpOrigin(address=metadata) as inside:
            inside.put("/token", b"credentials" * 100)
            hub.route("/leaky/model/1", redirect(inside.url + "/token"))
            with mounted(machine, tmp_path / "hub", hub.url) as where:
                got, _ = outcome(where.path / "leaky/model/1")
                assert got == errno.EHOSTUNREACH
                assert "link-local" in where.log()
                assert inside.requests == []

    in_network_of([f"{public}/32", f"{metadata}/32"], read)
