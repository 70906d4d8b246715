"""PyTorch and transformers, in an interpreter of their own: together they are 5.8 GB."""

import json
import os
from pathlib import Path
from typing import Any

from tests.support.paths import ROOT
from tests.support.programs import ran

_PROGRAM = Path(__file__).with_name("run_transformers.py")
_PYTHON = ROOT / ".venv-transformers" / "bin" / "python"


def run(home: Path, action: str, *arguments: str | Path, **environment: str) -> dict[str, Any]:
    """What `run_transformers.py` prints. No hub can be asked by it, but through the variables of `environment`."""
    if not _PYTHON.exists():
        raise FileNotFoundError(f"{_PYTHON} is missing: `scripts/test transformers` installs PyTorch there")
    done = ran(
        [_PYTHON, "-I", _PROGRAM, action, *arguments],
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "TMPDIR": str(home),
            "HF_ENDPOINT": "http://127.0.0.1:9",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            **environment,
        },
        timeout=500,
    )
    assert done.returncode == 0, f"{action} of {arguments} ended with {done.returncode}: {done.stderr}"
    return dict(json.loads(done.stdout.splitlines()[-1]))
