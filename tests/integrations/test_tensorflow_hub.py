"""The drop-in for tensorflow_hub. A directory stands for the mount: the drop-in sees nothing but paths."""

import errno
import hashlib
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from hubfs.integrations import tensorflow_hub
from hubfs.integrations.tensorflow_hub import ModelNotOnMount, NotMounted, install, stand_in, uninstall
from tests.support.tensorflow_hub import called, dependency_free_site

OWN = "http://127.0.0.1:8080/hub"

Resolve = Callable[[str], str]


def mounted_at(path: Path, hub: str = OWN) -> Path:
    """What a mount looks like."""
    for handle in ("google/spice/2", "google/spice/10", "google/lite-model/spice/1", "google/tfjs-model/n/2/default/1"):
        (path / handle).mkdir(parents=True)
    (path / "google/spice/latest").symlink_to("10")
    (path / "google/tfjs-model/n/2/default/latest").symlink_to("1")
    (path / ".hubfs").mkdir()
    (path / ".hubfs" / "mount.json").write_text(json.dumps({"hub": hub}))
    return path


@pytest.fixture
def mount(tmp_path: Path) -> Path:
    return mounted_at(tmp_path / "mount")


@pytest.fixture
def resolve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Resolve]:
    """`hub.resolve` where tensorflow_hub is not installed: its registry, which asks who came last first."""

    class Registry:
        def __init__(self) -> None:
            self.implementations: list[Any] = []

        def add_implementation(self, implementation: Any) -> None:
            self.implementations.append(implementation)

        def __call__(self, handle: str) -> str:
            for implementation in reversed(self.implementations):
                if implementation.is_supported(handle):
                    return str(implementation(handle))
            return f"left to tensorflow_hub: {handle}"

    module = ModuleType("tensorflow_hub.registry")
    registry = module.resolver = Registry()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tensorflow_hub", ModuleType("tensorflow_hub"))
    monkeypatch.setitem(sys.modules, "tensorflow_hub.registry", module)
    yield registry
    uninstall()


@pytest.mark.parametrize("hub", ["https://tfhub.dev", "http://tfhub.dev", "https://TFHUB.dev", OWN])
@pytest.mark.parametrize("suffix", ["", "/", "?tf-hub-format=compressed", "/?tf-hub-format=uncompressed"])
@pytest.mark.parametrize(
    ("typed", "path"),
    [
        ("google/spice/2", "google/spice/2"),
        ("google/spice", "google/spice/10"),
        ("google/lite-model/spice/1", "google/lite-model/spice/1"),
        ("google/tfjs-model/n/2/default/1", "google/tfjs-model/n/2/default/1"),
        ("google/tfjs-model/n/2/default", "google/tfjs-model/n/2/default/1"),
    ],
)
def test_a_handle_is_its_path_on_the_mount(
    mount: Path, resolve: Resolve, hub: str, suffix: str, typed: str, path: str
) -> None:
    install(mount)
    assert resolve(f"{hub}/{typed}{suffix}") == str(mount / path)


@pytest.mark.parametrize(
    "handle",
    [
        "https://tfhub.dev.example/google/spice/2",
        "http://127.0.0.1:8080/other/google/spice/2",
        "http://127.0.0.1:8080/hubs/google/spice/2",
        "http://127.0.0.1/hub/google/spice/2",
        "gs://tfhub.dev/google/spice/2",
        "/models/google/spice/2",
        "google/spice/2",
        "http://[broken/google/spice/2",
    ],
)
def test_other_handles_are_left_alone(mount: Path, resolve: Resolve, handle: str) -> None:
    install(mount)
    assert resolve(handle) == f"left to tensorflow_hub: {handle}"


def test_hubs_can_be_named(mount: Path, resolve: Resolve) -> None:
    install(mount, hubs=["https://mirror.example/tf/"])
    assert resolve("https://mirror.example/tf/google/spice/2") == str(mount / "google/spice/2")
    assert resolve(f"{OWN}/google/spice/2") == str(mount / "google/spice/2")
    assert resolve("https://tfhub.dev/google/spice/2").startswith("left to")
    with pytest.raises(ValueError, match=r"mirror\.example/tf"):
        install(mount, hubs=["mirror.example/tf"])


def test_a_bucket_can_be_the_mounts_hub(tmp_path: Path, resolve: Resolve) -> None:
    mount = mounted_at(tmp_path / "mount", "gs://team/models")
    install(mount)
    assert resolve("gs://team/models/google/spice/2") == str(mount / "google/spice/2")
    assert resolve("gs://team/other/google/spice/2").startswith("left to")


def test_a_hub_without_a_url_is_no_hindrance(tmp_path: Path, resolve: Resolve) -> None:
    mount = mounted_at(tmp_path / "mount", "kaggle:")
    install(mount)
    assert resolve("https://tfhub.dev/google/spice/2") == str(mount / "google/spice/2")


@pytest.fixture
def several(tmp_path: Path) -> Path:
    """What a mount of two hubs looks like: `tfhub` has models, `other` has none."""
    mounted_at(tmp_path / "one" / "tfhub").rename(tmp_path / "hubs")
    root = tmp_path / "hubs"
    (root / "tfhub").mkdir()
    (root / "other").mkdir()
    (root / "google").rename(root / "tfhub" / "google")
    about = {"hub": None, "hubs": {"tfhub": OWN, "other": "https://other.example"}}
    (root / ".hubfs" / "mount.json").write_text(json.dumps(about))
    return root


def test_of_several_hubs_one_is_named_by_its_directory(several: Path, resolve: Resolve) -> None:
    install(several / "tfhub")
    install(several / "other", hubs=[])
    assert resolve("https://tfhub.dev/google/spice/2") == str(several / "tfhub/google/spice/2")
    assert resolve(f"{OWN}/google/spice") == str(several / "tfhub/google/spice/10")
    with pytest.raises(ModelNotOnMount, match=r"https://other\.example/google/spice/2 is not on the mount .*/other"):
        resolve("https://other.example/google/spice/2")


def test_of_several_hubs_one_has_to_be_named(several: Path, resolve: Resolve) -> None:
    with pytest.raises(NotMounted, match=r"several hubs are mounted .*/hubs/tfhub, .*/hubs/other"):
        install(several)
    assert resolve("https://tfhub.dev/google/spice/2").startswith("left to")
    with pytest.raises(NotMounted, match="no hub is mounted"):
        install(several / "third")


def test_a_relative_mount_point_stays_where_it_was(
    mount: Path, resolve: Resolve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(mount.parent)
    install("mount")
    monkeypatch.chdir("/")
    assert resolve("https://tfhub.dev/google/spice/2") == str(mount / "google/spice/2")


@pytest.mark.parametrize("typed", ["google/spice/3", "google/spcie", "google/spice/2/saved_model.pb", "other/x/1"])
def test_a_model_that_the_mount_does_not_have_is_named(mount: Path, resolve: Resolve, typed: str) -> None:
    install(mount)
    with pytest.raises(ModelNotOnMount) as raised:
        resolve(f"https://tfhub.dev/{typed}")
    assert f"https://tfhub.dev/{typed}" in str(raised.value)
    assert str(mount) in str(raised.value)
    assert raised.value.errno == errno.ENOENT


@pytest.mark.parametrize("typed", ["", "google", "../../etc/1", "google/../../1", "google//1", "./google/1"])
def test_what_names_no_model_leads_nowhere(mount: Path, resolve: Resolve, typed: str) -> None:
    install(mount)
    with pytest.raises(ModelNotOnMount, match="names no model"):
        resolve(f"https://tfhub.dev/{typed}")


def test_latest_is_the_version_of_this_moment(mount: Path, resolve: Resolve) -> None:
    install(mount)
    latest = mount / "google/spice/latest"
    assert resolve("https://tfhub.dev/google/spice") == str(mount / "google/spice/10")
    latest.unlink()
    latest.symlink_to("2")
    assert resolve("https://tfhub.dev/google/spice") == str(mount / "google/spice/2")


def test_a_copy_of_a_mount_may_have_directories_for_links(mount: Path, resolve: Resolve) -> None:
    install(mount)
    latest = mount / "google/spice/latest"
    latest.unlink()
    latest.mkdir()
    assert resolve("https://tfhub.dev/google/spice") == str(latest)


def test_nothing_is_installed_where_no_hub_is_mounted(tmp_path: Path, resolve: Resolve) -> None:
    with pytest.raises(NotMounted, match=f"hubfs mount {tmp_path}"):
        install(tmp_path)
    assert resolve("https://tfhub.dev/google/spice/2").startswith("left to")


def test_a_mount_that_went_away_is_told_from_a_model_that_is_missing(mount: Path, resolve: Resolve) -> None:
    install(mount)
    mount.rename(mount.with_name("gone"))
    with pytest.raises(NotMounted, match="no hub is mounted"):
        resolve("https://tfhub.dev/google/spice/2")


def test_what_keeps_the_mount_from_answering_is_passed_on(
    mount: Path, resolve: Resolve, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(mount)

    def unreachable(path: Path, **_: object) -> os.stat_result:
        raise OSError(errno.EHOSTUNREACH, "No route to host", str(path))

    try:  # where a mount says it
        os.setxattr(mount / "google/spice", "user.hubfs.error", b"1: gone\n2: connection refused\n20: another")
    except OSError as error:
        if error.errno != errno.ENOTSUP:
            raise
        pytest.skip("the temporary directory has no extended attributes")
    monkeypatch.setattr(Path, "stat", unreachable)
    for typed, reason in (("google/spice/2", "connection refused"), ("google/spice/10", "No route to host")):
        with pytest.raises(OSError, match=reason) as raised:
            resolve(f"https://tfhub.dev/{typed}")
        assert raised.value.errno == errno.EHOSTUNREACH


def test_a_dead_mount_is_called_dead(mount: Path, resolve: Resolve, monkeypatch: pytest.MonkeyPatch) -> None:
    install(mount)

    def dead(path: Path, **_: object) -> os.stat_result:
        raise OSError(errno.ENOTCONN, "Transport endpoint is not connected", str(path))

    monkeypatch.setattr(Path, "stat", dead)
    with pytest.raises(OSError, match="`hubfs mount` at the same place") as raised:
        resolve("https://tfhub.dev/google/spice/2")
    assert raised.value.errno == errno.ENOTCONN


def test_the_mount_that_was_installed_last_counts(tmp_path: Path, resolve: Resolve) -> None:
    first = mounted_at(tmp_path / "first", "https://first.example")
    second = mounted_at(tmp_path / "second", "https://second.example")
    install(first)
    install(second)
    assert resolve("https://tfhub.dev/google/spice/2") == str(second / "google/spice/2")
    assert resolve("https://first.example/google/spice/2") == str(first / "google/spice/2")


def test_uninstalling_takes_everything_back(mount: Path, resolve: Resolve) -> None:
    install(mount)
    install(mount)
    uninstall()
    uninstall()
    assert resolve("https://tfhub.dev/google/spice/2").startswith("left to")
    install(mount)
    assert resolve("https://tfhub.dev/google/spice/2") == str(mount / "google/spice/2")


@pytest.fixture
def site(tmp_path: Path) -> Path:
    return dependency_free_site(tmp_path / "site")


def test_importing_it_needs_nothing_but_the_standard_library(site: Path) -> None:
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); import hubfs.integrations.tensorflow_hub;"
        "print(*sorted(name for name in sys.modules if name.startswith('hubfs')))"
    )
    isolated = [sys.executable, "-I", "-S", "-c", program, site]
    done = subprocess.run(isolated, capture_output=True, text=True, check=True, timeout=60)
    own = ("", ".layers", ".loading", ".modules", ".mounted", ".tensorflow_hub")
    assert done.stdout.split() == ["hubfs", *(f"hubfs.integrations{name}" for name in own)]


def test_the_stand_in_needs_nothing_else_for_the_models_of_a_mount(site: Path, mount: Path) -> None:
    program = """
import sys
sys.path.insert(0, sys.argv[1])
import hubfs.integrations.tensorflow_hub
hubfs.integrations.tensorflow_hub.stand_in(sys.argv[2])
import tensorflow_hub as hub
print(hub.resolve("https://tfhub.dev/google/spice"))
for call, handle in ((hub.load, "https://tfhub.dev/google/spice"), (hub.resolve, "https://other.example/google/spice/2")):
    try:
        call(handle)
    except ImportError as error:
        print(error)
"""
    isolated = [sys.executable, "-I", "-S", "-c", program, site, mount]
    done = subprocess.run(isolated, capture_output=True, text=True, check=True, timeout=60)
    resolved, loaded, foreign = done.stdout.splitlines()
    assert resolved == str(mount / "google/spice/10")
    assert loaded == "TensorFlow is not installed in this environment: pip install tensorflow"
    assert foreign.startswith("https://other.example/google/spice/2 is of no mount that is installed, and hubfs itself")
    assert foreign.endswith("pip install hubfs, or name a mount")


def test_the_stand_in_is_what_a_program_imports_until_it_is_uninstalled(mount: Path) -> None:
    before = sys.modules.get("tensorflow_hub")
    stand_in(mount)
    try:
        hub = importlib.import_module("tensorflow_hub")
        assert hub.__version__.startswith("0.16.1")
        assert hub.resolve("https://tfhub.dev/google/spice/2") == str(mount / "google/spice/2")
        assert hub.resolve(str(mount)) == str(mount)
        assert hub.resolve("gs://bucket/model") == "gs://bucket/model"
        with pytest.raises(ModelNotOnMount):
            hub.resolve("https://tfhub.dev/google/spice/3")
        with pytest.raises(AttributeError, match=r"tensorflow_hub\.text_embedding_column is of TensorFlow 1"):
            _ = hub.text_embedding_column
        with pytest.raises(ValueError, match="a handle is a text"):
            hub.load(3)
        install(mount)
    finally:
        uninstall()
    assert sys.modules.get("tensorflow_hub") is before


def test_the_stand_in_asks_hubfs_where_no_mount_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hubfs.library.calls.resolve", lambda handle: f"/cache/{handle}")
    assert tensorflow_hub.resolve("https://tfhub.dev/google/spice/2") == "/cache/https://tfhub.dev/google/spice/2"


@pytest.mark.tensorflow
def test_tensorflow_hub_reads_its_canonical_urls_from_the_mount(mount: Path, tmp_path: Path) -> None:
    url = "https://tfhub.dev/google/spice"
    saved, missing, *results, unknown, _, after = called(
        tmp_path,
        ("save", str(mount / "google/spice/10")),
        ("install", str(tmp_path / "elsewhere")),
        ("install", str(mount)),
        ("resolve", f"{url}/10"),
        ("load", f"{url}/10"),
        ("load", f"{OWN}/google/spice/10/?tf-hub-format=compressed"),
        ("load", url),
        ("keras", f"{url}/10"),
        ("load", str(mount / "google/spice/10")),
        ("load", f"{url}/11"),
        ("uninstall", None),
        ("load", f"{url}/10"),
    )
    assert saved == ("None", [])
    assert missing[0].startswith("NotMounted: ")
    tripled = ("[6.0]", [])
    assert results == [("None", []), (str(mount / "google/spice/10"), []), *[tripled] * 5]
    assert unknown[0].startswith("ModelNotOnMount: ")
    assert unknown[1] == []
    assert after[1] == [f"{url}/10?tf-hub-format=compressed"], "without it, the library downloads"


@pytest.mark.tensorflow
def test_an_unmodified_tensorflow_hub_takes_the_links_for_its_cache(
    mount: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = "https://tfhub.dev/google/spice/10"
    cache_dir = mount / ".hubfs" / "tfhub_modules"
    cache_dir.mkdir()
    name = hashlib.sha1(handle.encode("utf8")).hexdigest()
    (cache_dir / name).symlink_to("../../google/spice/10")
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(cache_dir))
    _, resolved, loaded = called(
        tmp_path, ("save", str(mount / "google/spice/10")), ("resolve", handle), ("load", handle)
    )
    assert resolved == (str(cache_dir / name), [])
    assert loaded == ("[6.0]", [])
    assert os.listdir(cache_dir) == [name], "it left nothing behind"
