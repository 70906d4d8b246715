"""Helm itself, as its authors' library, and the schemas of Kubernetes, in a process of their own.

`client_folders` of scripts/_setup.sh installs them.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support.paths import WORK

_FOLDER = WORK / "helm"
_PROGRAM = """
import json, sys
import helm_python, kubernetes_validate, yaml

chart, values, versions = json.load(sys.stdin)
report = helm_python.lint(chart, values, strict=True)
wrong = [*report["errors"], *(one["error"] for one in report["messages"] if one["severity"] > 1)]
manifests = []
if not wrong:
    with helm_python.Chart.load(chart) as loaded:
        texts = loaded.render(values, name="demo", namespace="hubs")
    texts = [text for path, text in texts.items() if path.endswith(".yaml")]
    manifests = [one for text in texts for one in yaml.safe_load_all(text) if one]
for manifest in manifests:
    for version in versions:
        try:
            kubernetes_validate.validate(manifest, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            wrong.append(f"{manifest['kind']}, Kubernetes {version}: {error.message}")
print(json.dumps([wrong, manifests]))
"""
_READ = "import json, sys, yaml; print(json.dumps([*yaml.safe_load_all(sys.stdin)]))"


def rendered(
    chart: Path, values: dict[str, Any], versions: Sequence[str] = ()
) -> tuple[list[str], list[dict[str, Any]]]:
    """What helm lint and the schemas of these versions of Kubernetes have to say, and the manifests."""
    wrong, manifests = _told(_PROGRAM, json.dumps([str(chart), values, [*versions]]))
    return wrong, manifests


def read(file: Path) -> list[dict[str, Any]]:
    """The documents of a file of YAML."""
    return list(_told(_READ, file.read_text()))


def _told(program: str, given: str) -> Any:
    if not _FOLDER.exists():
        pytest.skip("there is no .work/helm: scripts/test makes it where Helm's library is to be had")
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=given,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(_FOLDER)},
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
