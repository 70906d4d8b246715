"""README and docs/guides, executed: each block of shell and of Python, in order, on a machine whose hubs are stand-ins.

A block behind the comment `<!-- not executed: REASON -->` is not executed; what it says of hubfs is held against the
command line by tests/test_cli.py. A block of TOML is the user's config file from there on. A block of YAML is parsed.
"""

import os
import re
import socket
import subprocess
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.support.archives import gzipped, tar_of
from tests.support.gcs_server import gcs_server
from tests.support.hosted import put
from tests.support.http_origin import HttpOrigin
from tests.support.huggingface import HuggingFaceStandIn
from tests.support.kaggle import KaggleStandIn
from tests.support.mount import HUBFS, Machine, clear, is_mounted
from tests.support.paths import ROOT

pytestmark = pytest.mark.mounted

GUIDES = sorted((ROOT / "docs" / "guides").glob("*.md"))
PAGES = [ROOT / "README.md", *GUIDES]
EXECUTED = {"sh", "python"}
PARSED = {"toml", "yaml"}
SPICE = {"saved_model.pb": b"graph" * 1000, "variables/variables.index": b"index"}
PLACES = ("/mnt/", "/srv/", "/var/cache/")
"""Directories that the guides name and that no test may touch."""

PRELUDE = """set -euo pipefail
sudo() { "$@"; }
until_it_listens() {
    for _ in $(seq 600); do
        (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null && return
        sleep 0.1
    done
    return 1
}
trap 'jobs -p | xargs -r kill' EXIT
"""


@dataclass(frozen=True)
class Block:
    """A fenced block of a guide. `why_not` it is executed, or empty."""

    language: str
    text: str
    why_not: str


def blocks(guide: Path) -> list[Block]:
    fences = re.finditer(
        r"(?:^<!-- not executed: (?P<why>[^\n]+) -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$",
        guide.read_text(encoding="utf-8"),
        re.MULTILINE | re.DOTALL,
    )
    return [Block(fence["language"], fence["text"], fence["why"] or "") for fence in fences]


@pytest.fixture(scope="module")
def hubs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """What an environment says of the stand-ins for the hubs that the guides speak of."""
    with (
        HttpOrigin() as tfhub,
        gcs_server(tmp_path_factory.mktemp("guides") / "store") as store,
        HuggingFaceStandIn() as hf,
        KaggleStandIn() as kaggle,
    ):
        put(tfhub, "/google/spice/2", "tf-hub-format=compressed", gzipped(tar_of(SPICE)))
        for bucket in ("kaggle-tfhub-models-uncompressed", "team-models", "our-bucket"):
            store.create_bucket(bucket)
        store.upload("team-models", "prefix/acme/denoise/1/saved_model.pb", b"quiet")
        for repository in ("BAAI/bge-m3", "Qwen/Qwen3-0.6B"):
            hf.put(repository, {"config.json": b"{}", "model.safetensors": bytes(5000)})
        yield {
            "HUBFS_TFHUB_ENDPOINT": tfhub.url,
            "STORAGE_EMULATOR_HOST": store.url,
            "HF_ENDPOINT": hf.url,
            "HUBFS_KAGGLE_ENDPOINT": kaggle.url,
        }


def port_of_nobody() -> int:
    """One that is free, and that the kernel gives to nobody who asks for any: those are from 32768 on."""
    for port in range(20_000 + os.getpid() % 10_000, 32_000):
        with socket.socket() as trial:
            if trial.connect_ex(("127.0.0.1", port)):
                return port
    raise AssertionError("there is no free port")


def script_of(guide: Path, here: Path) -> str:
    """What a reader types, with places below `here`, and a port that nobody has."""
    lines = [PRELUDE]
    port = port_of_nobody()
    for block in blocks(guide):
        text = block.text
        for place in PLACES:
            text = re.sub(rf"(?<![\w.]){place}", f"{here}{place}", text)
        text = text.replace("8000", str(port))
        if block.language == "toml":
            lines.append(f"mkdir -p ~/.config/hubfs && cat > ~/.config/hubfs/config.toml <<'TOML'\n{text}TOML\n")
            lines.append("chmod 600 ~/.config/hubfs/config.toml")
        elif block.why_not or block.language not in EXECUTED:
            continue
        elif block.language == "python":
            lines.append(f"python - <<'PYTHON'\n{text}PYTHON\n")
        else:
            lines.append(re.sub(r"&$", f"&\nuntil_it_listens {port}", text, flags=re.MULTILINE))
    return "\n".join(lines)


@pytest.mark.parametrize("guide", PAGES, ids=lambda path: path.stem)
def test_what_a_guide_says_works(guide: Path, hubs: dict[str, str], tmp_path: Path) -> None:
    if "--allow-other" in guide.read_text(encoding="utf-8") and os.geteuid() != 0:
        pytest.skip("of other users than root, /etc/fuse.conf may refuse --allow-other")
    machine = Machine(tmp_path, hubs)
    work = machine.home / "work"
    work.mkdir(parents=True)
    machine.temp.mkdir()
    (work / "spice.tar.gz").write_bytes(gzipped(tar_of(SPICE)))
    foreign = ("HUBFS_", "TFHUB_", "XDG_", "GOOGLE_", "HF_", "HUGGING_FACE_", "KAGGLE_")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    environment = {
        **inherited,
        **hubs,
        "HOME": str(machine.home),
        "TMPDIR": str(machine.temp),
        "PATH": f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ['PATH']}",
        "HUBFS_SUPERVISE": "false",
        "HUBFS_GCS_TOKEN": "anon",
    }
    try:
        done = subprocess.run(
            ["bash", "-x", "-c", script_of(guide, tmp_path)],
            cwd=work,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=200,
        )
        assert done.returncode == 0, done.stdout
        left = [place for place in mounts_below(tmp_path) if is_mounted(place)]
        assert not left, "the guide takes off what it mounts"
    finally:
        for place in mounts_below(tmp_path):
            clear(place)


def mounts_below(place: Path) -> list[Path]:
    points = (line.split(" ")[1] for line in Path("/proc/mounts").read_text().splitlines())
    return [Path(point) for point in points if point.startswith(f"{place}/")]


@pytest.mark.parametrize("guide", PAGES, ids=lambda path: path.stem)
def test_each_block_is_executed_or_says_why_not(guide: Path) -> None:
    found = blocks(guide)
    assert any(block.language in EXECUTED and not block.why_not for block in found)
    for block in found:
        assert block.language in EXECUTED | PARSED, block.text
        assert block.language in EXECUTED or not block.why_not, "a block of settings needs no reason"
        if block.language == "yaml":
            assert all(yaml.safe_load_all(block.text))


def test_every_guide_is_at_most_a_page_and_is_listed() -> None:
    listed = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    for guide in GUIDES:
        assert len(guide.read_text(encoding="utf-8").splitlines()) <= 80, guide.name
        assert f"(guides/{guide.name})" in listed


def test_the_command_that_the_guides_run_is_this_one() -> None:
    assert HUBFS.parent == Path(sysconfig.get_path("scripts"))
