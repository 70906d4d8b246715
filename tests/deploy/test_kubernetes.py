"""The Helm chart and the example for Fluid: judged by Helm and Kubernetes' schemas, and their commands run really."""

import json
import signal
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import SMALL
from tests.support.files import files
from tests.support.helm import read, rendered
from tests.support.origin import Origin
from tests.support.own_system import OwnSystem, own_system
from tests.support.paths import ROOT
from tests.support.programs import ran
from tests.support.waiting import eventually

CHART = ROOT / "docs/deploy/helm/hubfs"
FLUID = ROOT / "docs/deploy/fluid/hubfs.yaml"
VERSIONS = ("1.25", "1.31", "1.37")
SCRIPTS = Path(sysconfig.get_path("scripts"))
MORE: dict[str, Any] = {
    "image": {"tag": "1.2.3", "pullPolicy": "Always"},
    "imagePullSecrets": [{"name": "registry"}],
    "existingSecret": "hub-tokens",
    "nodeSelector": {"gpu": "true"},
    "affinity": {"nodeAffinity": {}},
    "tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}],
    "priorityClassName": "",
}


def container(manifests: list[dict[str, Any]]) -> dict[str, Any]:
    (daemons,) = [one for one in manifests if one["kind"] == "DaemonSet"]
    (found,) = daemons["spec"]["template"]["spec"]["containers"]
    return dict(found)


@pytest.mark.slow
@pytest.mark.parametrize("values", [{}, MORE], ids=["as it is", "with all that can be set"])
def test_helm_and_kubernetes_find_nothing_wrong(values: dict[str, Any]) -> None:
    wrong, manifests = rendered(CHART, values, VERSIONS)
    assert not wrong
    assert {one["kind"] for one in manifests} == {"DaemonSet", "ConfigMap", "Pod"}
    hubs = container(manifests)
    assert {one["name"]: one.get("mountPropagation") for one in hubs["volumeMounts"]}["host"] == "Bidirectional"
    assert bool(hubs.get("envFrom")) == bool(values.get("existingSecret"))


@pytest.mark.slow
@pytest.mark.parametrize("values", [{"hostPath": "mnt"}, {"imge": {}}, {"image": {"pullPolicy": "Sometimes"}}])
def test_values_that_make_no_sense_are_refused(values: dict[str, Any]) -> None:
    wrong, _ = rendered(CHART, values)
    assert wrong


@pytest.fixture
def system(tmp_path: Path, servers: Origin) -> Iterator[OwnSystem]:
    environment = {**servers.environment, "HUBFS_CACHE_DIR": str(tmp_path / "cache"), "HUBFS_SUPERVISE": "false"}
    with own_system({**environment, "PATH": f"{SCRIPTS}:/usr/sbin:/usr/bin:/sbin:/bin"}) as system:
        yield system


@pytest.mark.mounted
@pytest.mark.slow
def test_the_command_of_the_chart_serves_what_its_probes_ask_for(
    system: OwnSystem, servers: Origin, small: Path
) -> None:
    config = f'[hub.ours]\nurl = "{servers.url}"\n'
    wrong, manifests = rendered(CHART, {"config": config})
    assert not wrong
    hubs = container(manifests)
    (said,) = [one["data"]["config.toml"] for one in manifests if one["kind"] == "ConfigMap"]
    system.run("mkdir", "-p", "/etc/hubfs", "/run/host")
    (system.seen(Path("/etc/hubfs")) / "config.toml").write_text(said)

    def there(command: list[str]) -> list[str]:
        return [word.replace("/host/", "/run/host/") for word in command]

    probe = there(hubs["readinessProbe"]["exec"]["command"])
    assert system.tried(*probe).returncode != 0
    for ended_by in (signal.SIGKILL, signal.SIGTERM):  # what is left of a pod that was killed is in no pod's way
        with system.started(*there([*hubs["command"], *hubs["args"]])) as process:
            assert eventually(lambda: system.tried(*probe).returncode == 0)
            assert files(system.seen(Path("/run/host/hub/ours")) / SMALL) == files(small)
            process.send_signal(ended_by)
            assert process.wait(60) == (0 if ended_by is signal.SIGTERM else -ended_by)
        assert system.tried(*probe).returncode != 0


@pytest.mark.mounted
@pytest.mark.slow
def test_the_command_of_the_profile_for_fluid_mounts_what_a_dataset_says(
    system: OwnSystem, servers: Origin, small: Path
) -> None:
    profile, dataset, runtime = read(FLUID)
    assert [one["kind"] for one in (profile, dataset, runtime)] == ["ThinRuntimeProfile", "Dataset", "ThinRuntime"]
    assert runtime["spec"]["profileName"] == profile["metadata"]["name"]
    assert runtime["metadata"]["name"] == dataset["metadata"]["name"]
    mounts = [{**mount, "mountPoint": servers.url} for mount in dataset["spec"]["mounts"]]
    system.run("mkdir", "-p", "/etc/fluid/config")
    told = {"mounts": mounts, "targetPath": "/run/thin/fuse", "accessModes": dataset["spec"]["accessModes"]}
    (system.seen(Path("/etc/fluid/config")) / "config.json").write_text(json.dumps(told))
    fuse = profile["spec"]["fuse"]
    assert fuse["command"] == ["/opt/hubfs/bin/python", "-c"]
    with system.started(SCRIPTS / "python", "-c", *fuse["args"]) as process:
        hub = system.seen(Path("/run/thin/fuse"))
        assert eventually((hub / ".hubfs/version").exists)
        for mount in dataset["spec"]["mounts"]:
            assert files(hub / mount["name"] / SMALL) == files(small)
        process.terminate()
        assert process.wait(60) == 0


def test_the_versions_are_hubfs_own() -> None:
    from hubfs import __version__  # noqa: PLC0415 - of this test alone

    assert f'appVersion: "{__version__}"' in (CHART / "Chart.yaml").read_text()
    assert f"imageTag: {__version__}" in FLUID.read_text()


def test_linters_of_dockerfiles_find_nothing_wrong() -> None:
    # DL3008: Debian's releases are what pins versions of packages; a mirror has no older ones.
    hadolint = SCRIPTS / "hadolint"
    if not hadolint.exists():
        pytest.skip("hadolint has wheels for x86_64 alone")
    command = [hadolint, "--ignore", "DL3008", ROOT / "docs/deploy/docker/Dockerfile"]
    done = ran(command)
    assert (done.returncode, done.stdout) == (0, "")
