"""The stand-in for the Hugging Face Hub, judged by a client that knows nothing of it: huggingface_hub."""

import hashlib
import random
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import requests

from tests.support.huggingface import HuggingFaceStandIn, too_many
from tests.support.huggingface_client import calls

REPO = "org/tiny"
WEIGHTS = random.Random(1).randbytes(3_000_000)
FILES = {
    "config.json": b'{"model_type": "bert"}',
    "model.safetensors": WEIGHTS,
    "1_Pooling/config.json": b"{}",
    "a b#c+é.txt": b"words\n",
    "empty": b"",
}
OLD = {"config.json": b"{}", "model.safetensors": WEIGHTS}
TOKEN = "hf_" + "5e" * 17


@pytest.fixture
def hub() -> Iterator[HuggingFaceStandIn]:
    with HuggingFaceStandIn() as hub:
        old = hub.put(REPO, OLD)
        hub.put(REPO, FILES)
        hub.name_ref(REPO, "refs/tags/v1", old)
        hub.name_ref(REPO, "refs/heads/feature/slash", old)
        hub.name_ref(REPO, "refs/pr/1", old)
        yield hub


def sums(files: Mapping[str, bytes]) -> dict[str, str]:
    return {path: _sum(data) for path, data in files.items()}


def _sum(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def shas(hub: HuggingFaceStandIn) -> tuple[str, str]:
    """The old commit, and the one of main."""
    found = requests.get(f"{hub.url}/api/models/{REPO}/refs", params={"include_prs": 1}, timeout=30).json()
    by_name = {ref["name"]: ref["targetCommit"] for ref in (*found["branches"], *found["tags"])}
    return by_name["v1"], by_name["main"]


@pytest.mark.slow
def test_a_file_is_downloaded_at_each_kind_of_revision(hub: HuggingFaceStandIn, tmp_path: Path) -> None:
    old, new = shas(hub)
    revisions = {"main": FILES, "v1": OLD, "feature/slash": OLD, "refs/pr/1": OLD, old: OLD, new: FILES}
    wanted = [("download", REPO, "config.json", {"revision": revision}) for revision in revisions]
    expected = [_sum(files["config.json"]) for files in revisions.values()]
    odd = [("download", REPO, path) for path in FILES]
    assert calls(hub, tmp_path, *wanted, *odd) == [*expected, *sums(FILES).values()]
    assert not [headers for _, headers, *_ in hub.cdn.asked if "authorization" in headers]


@pytest.mark.slow
@pytest.mark.parametrize("moves_small", [False, True])
def test_a_snapshot_is_downloaded_by_a_paged_tree(hub: HuggingFaceStandIn, tmp_path: Path, moves_small: bool) -> None:  # noqa: FBT001 - a case
    hub.page_size, hub.moves_small = 2, moves_small
    old, new = shas(hub)
    assert calls(hub, tmp_path, ("snapshot", REPO), ("snapshot", REPO, {"revision": "v1"})) == [
        [new, sums(FILES)],
        [old, sums(OLD)],
    ]


@pytest.mark.slow
def test_the_file_system_lists_and_reads_ranges(hub: HuggingFaceStandIn, tmp_path: Path) -> None:
    hub.page_size = 2
    path = f"{REPO}/model.safetensors"
    listed, pooling, some, of_pr, referred, named = calls(
        hub,
        tmp_path,
        ("ls", REPO),
        ("ls", f"{REPO}/1_Pooling"),
        ("read", path, 1_000_001, 1_500_000),
        ("read", f"{REPO}@refs/pr/1/config.json", 0, 100),
        ("refs", REPO),
        ("models", "org"),
    )
    files = [[f"{REPO}/{name}", "file", len(data)] for name, data in FILES.items() if "/" not in name]
    assert listed == sorted([*files, [f"{REPO}/1_Pooling", "directory", 0]])
    assert pooling == [[f"{REPO}/1_Pooling/config.json", "file", 2]]
    assert some == _sum(WEIGHTS[1_000_001:2_500_001])
    assert of_pr == _sum(OLD["config.json"])
    old, new = shas(hub)
    assert referred == {
        "branches": {"main": new, "feature/slash": old},
        "tags": {"v1": old},
        "pull_requests": {"1": old},
    }
    assert named == [REPO]


@pytest.mark.slow
def test_each_refusal_is_the_error_that_it_should_be(hub: HuggingFaceStandIn, tmp_path: Path) -> None:
    hub.put("org/gated", FILES)
    hub.put("org/hidden", FILES)
    hub.put("org/off", FILES)
    hub.gated.add("org/gated")
    hub.private.add("org/hidden")
    hub.disabled.add("org/off")
    wanted = [
        ("download", "org/nothing", "config.json"),
        ("download", "org/hidden", "config.json"),
        ("download", REPO, "config.json", {"revision": "nowhere"}),
        ("download", REPO, "nothing.json"),
        ("download", "org/gated", "config.json"),
        ("refs", "org/off"),
    ]
    errors = ["RepositoryNotFound", "RepositoryNotFound", "RevisionNotFound", "RemoteEntryNotFound", "GatedRepo"]
    answers = calls(hub, tmp_path / "nobody", *wanted)
    assert [answer["error"] for answer in answers] == [f"{name}Error" for name in (*errors, "DisabledRepo")]
    hub.tokens[TOKEN] = "reader"
    hub.readers.add("reader")
    allowed = [("download", name, "model.safetensors") for name in ("org/gated", "org/hidden")]
    assert calls(hub, tmp_path / "reader", *allowed, token=TOKEN) == [_sum(WEIGHTS)] * 2
    assert hub.cdn.asked
    assert not [headers for _, headers, *_ in hub.cdn.asked if "authorization" in headers]


@pytest.mark.slow
def test_a_client_waits_for_as_long_as_the_budget_says(hub: HuggingFaceStandIn, tmp_path: Path) -> None:
    hub.script("resolve", too_many("resolvers", 1))
    assert calls(hub, tmp_path, ("download", REPO, "config.json")) == [_sum(FILES["config.json"])]


@pytest.mark.slow
def test_names_that_were_given_up_lead_to_the_ones_of_today(hub: HuggingFaceStandIn, tmp_path: Path) -> None:
    hub.moved.update({"tiny": REPO, "former/tiny": REPO})
    wanted = [("download", name, "model.safetensors") for name in ("tiny", "former/tiny")]
    assert calls(hub, tmp_path, *wanted) == [_sum(WEIGHTS)] * 2


@pytest.mark.slow
def test_the_client_takes_wrong_bytes_of_the_right_length(hub: HuggingFaceStandIn, tmp_path: Path) -> None:
    _, new = shas(hub)
    hub.rot(REPO, new, "model.safetensors", 12_345)
    (found,) = calls(hub, tmp_path, ("snapshot", REPO))
    assert found == [new, {**sums(FILES), "model.safetensors": _sum(_flipped(WEIGHTS, 12_345))}]


def _flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def _signed(hub: HuggingFaceStandIn) -> str:
    url = f"{hub.url}/{REPO}/resolve/main/model.safetensors"
    return requests.get(url, allow_redirects=False, timeout=30).headers["Location"]


def test_a_signed_url_ends_and_can_be_forgotten(hub: HuggingFaceStandIn) -> None:
    url = _signed(hub)
    assert requests.get(url, headers={"Range": "bytes=3-8"}, timeout=30).content == WEIGHTS[3:9]
    hub.cdn.forget_urls()
    assert requests.get(url, timeout=30).status_code == 403
    hub.cdn.url_lives_s = 0
    assert requests.get(_signed(hub), timeout=30).status_code == 403


def test_a_large_file_without_a_range_is_refused(hub: HuggingFaceStandIn) -> None:
    hub.cdn.most_without_range_bytes = 1 << 20
    assert requests.get(_signed(hub), timeout=30).status_code == 400
    assert requests.get(_signed(hub), headers={"Range": "bytes=0-"}, timeout=30).content == WEIGHTS


def test_every_answer_tells_what_is_left_of_a_budget(hub: HuggingFaceStandIn) -> None:
    info = requests.get(f"{hub.url}/api/models/{REPO}", timeout=30)
    assert info.headers["RateLimit"] == '"api";r=400;t=200'
    resolved = requests.get(f"{hub.url}/{REPO}/resolve/main/config.json", timeout=30)
    assert resolved.headers["RateLimit-Policy"] == '"fixed window";"resolvers";q=3000;w=300'
    assert hub.calls == {"info": 1, "resolve": 1}
