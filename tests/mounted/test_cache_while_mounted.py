"""`hubfs cache`, while a mount reads the same directory: what is in use or pinned stays."""

import json
import random
from pathlib import Path

import pytest

from tests.support.files import files
from tests.support.huggingface import HuggingFaceStandIn
from tests.support.mount import Machine, mounted

pytestmark = pytest.mark.mounted

MODELS = {name: {"weights": random.Random(at).randbytes(3 << 20)} for at, name in enumerate(("open", "pinned", "idle"))}


def test_pruning_takes_nothing_that_is_in_use_or_pinned(machine: Machine, tmp_path: Path) -> None:
    with HuggingFaceStandIn() as hf:
        for name, model in MODELS.items():
            hf.put(f"org/{name}", model)
        user = machine.with_environment(HF_ENDPOINT=hf.url)
        assert user.hubfs("prefetch", *(f"hf:org/{name}" for name in MODELS)).returncode == 0
        assert user.hubfs("cache", "pin", "hf:org/pinned").returncode == 0
        with mounted(user, tmp_path / "hub", "hf:") as mount, (mount.path / "org/open/weights").open("rb") as reader:
            begun = reader.read(1000)
            said = json.loads(user.hubfs("cache", "prune", "--to-size", "0B", "--json").stdout)
            gone = [name for name in said["removed"] if "+blobs" not in name]
            assert ["idle" in name for name in gone] == [True]
            hf.reset_counts()
            assert begun + reader.read() == MODELS["open"]["weights"]
            assert files(mount.path / "org/pinned") == MODELS["pinned"]
            assert hf.cdn.body_bytes == 0
            assert files(mount.path / "org/idle") == MODELS["idle"], "it is fetched again"
            assert hf.cdn.body_bytes > 0
            assert user.hubfs("cache", "verify").returncode == 0
