"""The files that CI and Git hooks read: of the form that these want, and about scripts that are there."""

import sysconfig
from pathlib import Path
from typing import Any

import pytest
import yaml

from hubfs.settings.file import tomllib
from tests.support.paths import ROOT
from tests.support.programs import ran

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
HOOKS = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))


def jobs() -> dict[str, Any]:
    return {name: job for file in WORKFLOWS for name, job in yaml.safe_load(file.read_text("utf-8"))["jobs"].items()}


@pytest.mark.slow
@pytest.mark.parametrize("schema", ["vendor.github-workflows", "custom.github-workflows-require-timeout"])
def test_workflows_are_of_the_form_that_github_wants(schema: str) -> None:
    check = Path(sysconfig.get_path("scripts"), "check-jsonschema")
    done = ran([check, "--builtin-schema", schema, *WORKFLOWS], timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_job_runs_what_is_there() -> None:
    said = [step["run"] for job in jobs().values() for step in job["steps"] if "run" in step]
    scripts = [word for line in said for word in line.split() if word.startswith(("scripts/", ".ci/"))]
    assert {"scripts/lint", "scripts/test", "scripts/release", ".ci/run"} <= {*scripts}
    assert all((ROOT / script).exists() for script in scripts)


def test_every_python_that_is_promised_is_tested() -> None:
    about = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pythons = jobs()["unit"]["strategy"]["matrix"]["python"]
    assert about["requires-python"] == f">={pythons[0]}"
    assert pythons == [f"3.{minor}" for minor in range(10, 10 + len(pythons))]


def test_every_way_to_serve_the_kernel_is_tested() -> None:
    matrix = jobs()["mounted"]["strategy"]["matrix"]
    assert {row["serves"] for row in matrix["include"]} == {*matrix["serves"]} == {"session", "libfuse3", "libfuse2"}


def test_hooks_fetch_nothing_and_run_what_is_there() -> None:
    assert {repository["repo"] for repository in HOOKS["repos"]} == {"local"}
    hooks = [hook for repository in HOOKS["repos"] for hook in repository["hooks"]]
    lint = (ROOT / "scripts" / "lint").read_text(encoding="utf-8")
    for hook in hooks:
        script, check = hook["entry"].split()
        assert hook["language"] == "system"
        assert script == "scripts/lint"
        assert f"\n{check}() {{" in lint
