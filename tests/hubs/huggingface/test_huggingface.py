import gzip
import json
import random
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager

import pytest

from hubfs.blobs.http import blob as http_blob
from hubfs.errors import AccessDenied, Damaged, InvalidConfig, ModelNotFound, Unavailable
from hubfs.hubs.hub import Hub
from hubfs.model_id import ModelId
from tests.support.huggingface import HuggingFaceStandIn, refusal, too_many
from tests.support.kaggle_replies import Fault, Reply, instead, json_reply
from tests.support.kits import Workshop, made_hub
from tests.support.sources import contents
from tests.support.waiting import eventually

NAME, COMMIT = "BAAI/bge-m3", "5a" * 20
MODEL = ModelId(NAME, COMMIT)
LARGE = random.Random(7).randbytes(5 << 20)
FILES = {"config.json": b"{}", "model.safetensors": LARGE, "onnx/a b+é#.txt": b"a,b", "empty": b"", "page.html": b"<p>"}
TOKEN = "hf_" + "5e" * 17


@pytest.fixture
def stand_in() -> Iterator[HuggingFaceStandIn]:
    with HuggingFaceStandIn(page_size=2) as stand_in:
        stand_in.put(NAME, FILES, commit=COMMIT)
        yield stand_in


def made(
    stand_in: HuggingFaceStandIn, tools: Workshop, url: str = "hf:", **environ: str
) -> AbstractContextManager[Hub]:
    return made_hub(url, tools, {"hf": stand_in.url}, **environ)


@pytest.fixture
def hub(stand_in: HuggingFaceStandIn, tools: Workshop) -> Iterator[Hub]:
    with made(stand_in, tools) as hub:
        yield hub


@pytest.mark.parametrize(
    "url", ["hf:", "hf:BAAI", "https://huggingface.co", "https://huggingface.co/BAAI", "https://hf.co"]
)
def test_each_url_of_the_hub_is_the_hub(stand_in: HuggingFaceStandIn, tools: Workshop, url: str) -> None:
    with made(stand_in, tools, url) as hub:
        assert hub.url == f"hf:{'BAAI' if 'BAAI' in url else ''}"
        assert hub.label.startswith("huggingface+http")
        assert hub.alias(NAME) == COMMIT


@pytest.mark.parametrize("url", ["hf:a/b", "hf:-a", "https://huggingface.co/BAAI/bge-m3"])
def test_what_is_no_namespace_is_no_hub(stand_in: HuggingFaceStandIn, tools: Workshop, url: str) -> None:
    with pytest.raises(InvalidConfig), made(stand_in, tools, url):
        pass


def test_every_kind_of_revision_leads_to_its_commit(hub: Hub, stand_in: HuggingFaceStandIn) -> None:
    new = stand_in.put(NAME, {"config.json": b"[]"})
    for ref in ("refs/tags/v1", "refs/heads/feature/x", "refs/pr/1", "refs/convert/parquet"):
        stand_in.name_ref(NAME, ref, COMMIT)
    assert hub.alias(f"{NAME}@main") == f"bge-m3@{new}"
    for revision in ("v1", "feature%2Fx", "refs%2Fpr%2F1", "refs%2Fconvert%2Fparquet", COMMIT[:7], COMMIT):
        assert hub.alias(f"{NAME}@{revision}") == f"bge-m3@{COMMIT}", revision
    with pytest.raises(ModelNotFound, match="nowhere"):
        hub.alias(f"{NAME}@nowhere")


def test_names_that_were_given_up_lead_to_the_ones_of_today(
    hub: Hub, stand_in: HuggingFaceStandIn, tools: Workshop
) -> None:
    stand_in.moved.update({"bge": NAME, "former/bge": NAME})
    assert hub.alias("bge@main") == f"{NAME}@{COMMIT}"
    assert hub.alias("former/bge@main") == f"../{NAME}@{COMMIT}"
    assert contents(hub.open(ModelId("former/bge", COMMIT), tools.kit)) == FILES


def test_a_data_set_is_read_as_a_model_is(hub: Hub, stand_in: HuggingFaceStandIn, tools: Workshop) -> None:
    commit = stand_in.put("datasets/allenai/c4", FILES)
    assert hub.alias("datasets/allenai/c4@main") == f"c4@{commit}"
    assert contents(hub.open(ModelId("datasets/allenai/c4", commit), tools.kit)) == FILES


def test_a_namespace_is_listed(hub: Hub, stand_in: HuggingFaceStandIn) -> None:
    for name in ("a", "b", "c"):
        stand_in.put(f"BAAI/{name}", FILES)
    stand_in.put("other/d", FILES)
    assert [*hub.children("BAAI")] == ["bge-m3", "a", "b", "c"]
    assert [*hub.children("nobody")] == []
    assert hub.children("") == ()


def test_a_model_costs_one_tree_and_one_resolve_a_file_for_any_number_of_reads_and_readers(
    hub: Hub, stand_in: HuggingFaceStandIn, tools: Workshop
) -> None:
    source = hub.open(MODEL, tools.kit)
    blob = source.open(source.find("model.safetensors"))
    with ThreadPoolExecutor(16) as readers:
        assert set(readers.map(lambda _: blob.read_at(0, len(LARGE)) == LARGE, range(16))) == {True}
    assert contents(source) == FILES
    assert stand_in.calls["tree"] == 3, "five files and a directory, two entries a page"
    assert stand_in.calls["resolve"] == len(FILES) - 1, "an empty file has no bytes to ask for"
    assert stand_in.cdn.body_bytes < 2 * len(LARGE), "each byte once, but for a block that no cache had in time"
    assert {what for what in stand_in.calls if stand_in.calls[what]} == {"tree", "resolve", "cdn"}
    assert all(method == "GET" for method, *_ in stand_in.asked), "no HEAD at all"


def test_every_request_for_bytes_asks_for_a_range_as_it_is(
    hub: Hub, stand_in: HuggingFaceStandIn, tools: Workshop
) -> None:
    stand_in.cdn.most_without_range_bytes = 0
    assert contents(hub.open(MODEL, tools.kit)) == FILES
    resolved = [headers for _, path, headers in stand_in.asked if "/resolve/" in path]
    sent = [headers for _, headers, *_ in stand_in.cdn.asked]
    assert all("range" in headers and headers["accept-encoding"] == "identity" for headers in (*resolved, *sent))


def test_a_signed_url_that_is_refused_is_resolved_again_once(
    hub: Hub, stand_in: HuggingFaceStandIn, tools: Workshop
) -> None:
    source = hub.open(MODEL, tools.kit)
    blob = source.open(source.find("model.safetensors"))
    assert blob.read_at(0, 100) == LARGE[:100]
    stand_in.cdn.forget_urls()
    assert blob.read_at(4 << 20, 1 << 20) == LARGE[4 << 20 :]
    assert stand_in.calls["resolve"] == 2


def test_a_signed_url_is_resolved_again_before_it_expires(
    hub: Hub, stand_in: HuggingFaceStandIn, tools: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = hub.open(MODEL, tools.kit)
    blob = source.open(source.find("model.safetensors"))
    assert blob.read_at(0, 100) == LARGE[:100]
    monkeypatch.setattr(http_blob, "time", lambda: time.time() + 3600 - 200)
    assert blob.read_at(4 << 20, 1 << 20) == LARGE[4 << 20 :]
    assert stand_in.calls["resolve"] == 2
    assert {status for *_, status, _ in stand_in.cdn.asked} == {206}, "nothing was refused"


@pytest.mark.parametrize("knob", ["moves_small", "serves_lfs"])
def test_a_file_may_come_from_another_path_of_the_hub(
    hub: Hub, stand_in: HuggingFaceStandIn, tools: Workshop, knob: str
) -> None:
    setattr(stand_in, knob, True)
    assert contents(hub.open(MODEL, tools.kit)) == FILES


def test_pages_that_lead_to_another_host_are_asked_of_this_one(
    hub: Hub, stand_in: HuggingFaceStandIn, tools: Workshop
) -> None:
    stand_in.links = "https://huggingface.co"
    assert contents(hub.open(MODEL, tools.kit)) == FILES


class TestVerified:
    """The hub's own hash of each file, held against the bytes when the file is whole."""

    @pytest.mark.parametrize(("path", "algorithm"), [("model.safetensors", "sha256"), ("config.json", "git-sha1")])
    def test_a_wrong_bit_is_damage_and_nothing_of_it_is_kept(self, hub, stand_in, tools, path, algorithm) -> None:
        stand_in.rot(NAME, COMMIT, path, len(FILES[path]) - 1)
        source = hub.open(MODEL, tools.kit)
        with pytest.raises(
            Damaged, match=rf"{path}.* is damaged: its {algorithm} is [0-9a-f]+, and the store announced"
        ):
            source.open(source.find(path)).read_at(0, len(FILES[path]))
        assert eventually(lambda: not tools.cache.cached_bytes(source.model))  # a fetch beside it drops its own, too
        stand_in.mend()
        assert contents(hub.open(MODEL, tools.kit)) == FILES

    def test_in_whatever_order_the_blocks_came(self, hub, stand_in, tools) -> None:
        stand_in.rot(NAME, COMMIT, "model.safetensors", 17)
        source = hub.open(MODEL, tools.kit)
        blob = source.open(source.find("model.safetensors"))
        for index in (4, 0, 2, 1):
            blob.read_at(index << 20, 1 << 20)
        with pytest.raises(Damaged, match="its sha256 is"):
            blob.read_at(3 << 20, 1 << 20)
        assert not tools.cache.cached_bytes(source.model)

    def test_and_with_what_an_earlier_mount_kept(self, hub, stand_in, tools) -> None:
        stand_in.rot(NAME, COMMIT, "model.safetensors", 100)
        source = hub.open(MODEL, tools.kit)
        source.open(source.find("model.safetensors")).read_at(0, 1 << 20)
        stand_in.mend()
        kept = tools.kept(source.model)
        later = hub.load(MODEL, kept, tools.kit)
        blob = later.open(later.find("model.safetensors"))
        assert blob.read_at(2 << 20, 1 << 20) == LARGE[2 << 20 : 3 << 20]
        with pytest.raises(Damaged):
            blob.read_at(0, len(LARGE))
        assert contents(hub.open(MODEL, tools.kit)) == FILES

    @pytest.mark.parametrize(
        "said",
        [
            {"size": 5_000_000, "lfs": {"oid": "ab" * 32, "size": 5_000_000}},
            {"lfs": {"oid": "ab" * 32, "size": 5 << 20}},
        ],
    )
    def test_a_tree_that_lies_of_lfs_is_found_before_any_byte(self, hub, stand_in, tools, said) -> None:
        stand_in.lie(NAME, COMMIT, "model.safetensors", **said)
        source = hub.open(MODEL, tools.kit)
        with pytest.raises(Damaged, match="the tree lists other ones"):
            source.open(source.find("model.safetensors")).read_at(0, 10)
        assert not stand_in.cdn.asked

    def test_a_tree_that_lies_of_git_is_found_when_the_file_is_whole(self, hub, stand_in, tools) -> None:
        stand_in.lie(NAME, COMMIT, "config.json", oid="ab" * 20)
        source = hub.open(MODEL, tools.kit)
        with pytest.raises(Damaged, match="its git-sha1 is"):
            source.open(source.find("config.json")).read_at(0, 10)


class TestRefusals:
    """`X-Error-Code`, in words for readers."""

    def test_a_gated_repository_names_the_page_to_ask_at(self, hub, stand_in, tools) -> None:
        stand_in.gated.add(NAME)
        source = hub.open(MODEL, tools.kit)
        for path in ("config.json", "model.safetensors"):
            with pytest.raises(
                AccessDenied, match=rf"gated; ask for access at {stand_in.url}/{NAME} \(hubfs signs in by no"
            ):
                source.open(source.find(path)).read_at(0, 10)

    def test_what_is_not_there_or_private_is_not_there(self, hub, stand_in, tools) -> None:
        stand_in.put("org/hidden", FILES, commit=COMMIT)
        stand_in.private.add("org/hidden")
        for name in ("org/hidden", "org/nothing"):
            with pytest.raises(ModelNotFound, match="it is not there, or it is private"):
                hub.open(ModelId(name, COMMIT), tools.kit)
            with pytest.raises(ModelNotFound):
                hub.alias(f"{name}@main")
        with pytest.raises(ModelNotFound, match="Invalid rev id"):
            hub.open(ModelId(NAME, "0" * 40), tools.kit)

    def test_what_was_taken_down_is_refused(self, hub, stand_in, tools) -> None:
        stand_in.disabled.add(NAME)
        with pytest.raises(AccessDenied, match="taken it down"):
            hub.open(MODEL, tools.kit)

    def test_a_token_that_counts_no_more_is_said_to(self, stand_in, tools) -> None:
        with (
            made(stand_in, tools, HF_TOKEN=TOKEN) as hub,
            pytest.raises(AccessDenied, match=r"wants other .* by HF_TOKEN"),
        ):
            hub.open(MODEL, tools.kit)

    def test_a_token_goes_to_the_hub_and_never_to_the_cdn(self, stand_in, tools) -> None:
        stand_in.gated.add(NAME)
        stand_in.tokens[TOKEN] = "reader"
        stand_in.readers.add("reader")
        with made(stand_in, tools, HF_TOKEN=TOKEN) as hub:
            assert contents(hub.open(MODEL, tools.kit)) == FILES
        assert all(headers["authorization"] == f"Bearer {TOKEN}" for _, _, headers in stand_in.asked)
        assert stand_in.cdn.asked
        assert not [headers for _, headers, *_ in stand_in.cdn.asked if "authorization" in headers]

    def test_a_redirect_of_the_api_to_another_host_is_not_followed(self, hub, stand_in, tools) -> None:
        stand_in.script("tree", instead(Reply(307, {"Location": f"{stand_in.cdn.url}/api/models/x"})))
        with pytest.raises(Damaged, match="another host"):
            hub.open(MODEL, tools.kit)
        assert not stand_in.cdn.asked


class TestBudgets:
    """429, and the budgets that the hub counts apart."""

    def test_a_short_pause_is_waited_for(self, hub, stand_in, tools) -> None:
        stand_in.script("tree", lambda _: json_reply({}, 429, {"Retry-After": "0"}))
        stand_in.script("resolve", lambda _: json_reply({}, 429, {"Retry-After": "0"}))
        assert contents(hub.open(MODEL, tools.kit)) == FILES

    def test_while_the_hub_wants_to_be_left_alone_it_is_asked_nothing(self, hub, stand_in, tools) -> None:
        stand_in.script("tree", too_many("api", 200))
        for _ in range(2):
            with pytest.raises(Unavailable, match=r"429: We had to rate limit your IP.* asked again after .* UTC"):
                hub.open(MODEL, tools.kit)
        with pytest.raises(Unavailable):
            hub.alias(f"{NAME}@main")
        assert sum(stand_in.calls.values()) == 1

    def test_files_have_a_budget_of_their_own(self, hub, stand_in, tools) -> None:
        source = hub.open(MODEL, tools.kit)
        stand_in.script("info", too_many("api", 200))
        with pytest.raises(Unavailable):
            hub.alias(f"{NAME}@main")
        assert contents(source) == FILES

    def test_readers_go_on_at_the_cdn(self, hub, stand_in, tools) -> None:
        source = hub.open(MODEL, tools.kit)
        blob = source.open(source.find("model.safetensors"))
        assert blob.read_at(0, 100) == LARGE[:100]
        stand_in.script("resolve", too_many("resolvers", 200))
        with pytest.raises(Unavailable):
            source.open(source.find("config.json")).read_at(0, 2)
        assert blob.read_at(4 << 20, 1 << 20) == LARGE[4 << 20 :]

    def test_what_is_left_is_told(self, hub, stand_in, tools) -> None:
        assert hub.budgets() == []
        contents(hub.open(MODEL, tools.kit))
        told = {budget.name: (budget.left, budget.quota) for budget in hub.budgets()}
        assert told == {"questions": (400, 500), "files": (400, 3000)}
        assert all(0 < budget.ends_at_s - time.time() <= 200 for budget in hub.budgets())


def _tree(*entries: Mapping[str, object], link: str = "") -> Fault:
    return instead(json_reply([*entries], 200, {"Link": link} if link else {}))


def _git(path: str, **more: object) -> Mapping[str, object]:
    return {"type": "file", "path": path, "size": 1, "oid": "ab" * 20, **more}


class TestHostileTrees:
    """A tree that is none, or cannot be shown, is damage; nothing of it is shown."""

    @pytest.mark.parametrize(
        "fault",
        [
            instead(Reply(200, {}, b"<html>")),
            instead(json_reply({"files": []})),
            _tree({"type": "file", "size": 1}),
            _tree(_git("../a")),
            _tree(_git("/etc/passwd")),
            _tree(_git("a/../b")),
            _tree(_git("")),
            _tree(_git("a\0b")),
            _tree(_git("x" * 300)),
            _tree(_git("a"), _git("a/b")),
            _tree(_git("a"), _git("a", size=2)),
            _tree(_git("a", size=-1)),
            _tree(_git("a", size=1 << 60)),
            _tree(_git("a", size="1")),
            _tree(_git("a", oid="xyz")),
            _tree(_git("a", oid=None)),
            _tree(_git("a", lfs={"oid": "ab" * 32, "size": 2})),
            _tree(_git("a", lfs={"oid": "ab" * 20, "size": 1})),
            _tree(_git("a", lfs="yes")),
            instead(Reply(200, {}, b'[{"type": "file", "path": "a\\ud800", "size": 1, "oid": "%s"}]' % (b"ab" * 20))),
            _tree(_git("a"), link='<https://x/>; rel="next"'),
            _tree(_git("a"), link=f'<https://x/?{"a" * 9000}>; rel="next"'),
        ],
    )
    def test_it_is_damage(self, hub, stand_in, tools, fault: Fault) -> None:
        stand_in.script("tree", fault)
        with pytest.raises(Damaged):
            hub.open(MODEL, tools.kit)

    def test_where_pages_lead_in_a_circle_folders_are_asked_for(self, hub, stand_in, tools) -> None:
        circle = '<https://x/?recursive=true&expand=false&limit=1000>; rel="next"'
        again = '<https://x/?recursive=false&expand=false&limit=1000>; rel="next"'
        folder = {"type": "directory", "path": "a", "oid": "ab" * 20}
        stand_in.script("tree", _tree(_git("1"), link=circle), _tree(folder, _git("1")), _tree(_git("a/2")))
        assert [entry.path for entry in hub.open(MODEL, tools.kit).entries()] == ["1", "a", "a/2"]
        asked = [path.partition(COMMIT)[2] for _, path, _ in stand_in.asked]
        assert [path.partition("&")[0] for path in asked] == [
            "?recursive=true",
            "?recursive=false",
            "/a?recursive=false",
        ]
        for listed in (_tree(_git("1"), link=again), _tree({**folder, "path": "../a"})):
            stand_in.script("tree", _tree(_git("1"), link=circle), listed)
            with pytest.raises(Damaged):
                hub.open(ModelId(NAME, "6b" * 20), tools.kit)
        deeper = ["/".join(["a"] * depth) for depth in range(1, 1002)]
        stand_in.script("tree", _tree(link=circle), *(_tree({**folder, "path": path}) for path in deeper))
        stand_in.reset_counts()
        with pytest.raises(Damaged, match="read before"):
            hub.open(ModelId(NAME, "6b" * 20), tools.kit)
        assert stand_in.calls["tree"] == 1001

    def test_an_answer_that_was_compressed_for_a_mirror_is_read(self, hub, stand_in, tools) -> None:
        def zipped(body: bytes, encoding: str = "gzip") -> Fault:
            return instead(Reply(200, {"Content-Encoding": encoding}, body))

        good = gzip.compress(json.dumps([_git("a")]).encode())
        stand_in.script("tree", zipped(good))
        assert [entry.path for entry in hub.open(MODEL, tools.kit).entries()] == ["a"]
        bomb = gzip.compress(b" " * (65 << 20))
        for fault in (zipped(good[:-9]), zipped(b"x"), zipped(good, "br"), zipped(bomb)):
            stand_in.script("tree", fault)
            with pytest.raises(Damaged):
                hub.open(ModelId(NAME, "6b" * 20), tools.kit)

    def test_a_mirror_that_takes_the_slashes_of_a_revision_for_a_path_is_asked_for_references(
        self, hub, stand_in
    ) -> None:
        for ref in ("refs/heads/feature/x", "refs/pr/1"):
            stand_in.name_ref(NAME, ref, COMMIT)
        for revision in ("feature%2Fx", "refs%2Fpr%2F1"):
            stand_in.script("info", instead(refusal(404, "", "Not found")))
            assert hub.alias(f"{NAME}@{revision}") == f"bge-m3@{COMMIT}"
        for revision in ("no%2Fwhere", "nowhere"):
            with pytest.raises(ModelNotFound):
                hub.alias(f"{NAME}@{revision}")
        assert stand_in.calls["refs"] == 3, "none for a revision without slashes"

    def test_pages_that_never_end_are_refused_by_their_length(self, hub, stand_in, tools) -> None:
        def page(number: int) -> Fault:
            return _tree(_git(f"{number}", more="x" * (24 << 20)), link=f'<https://x/?cursor={number}>; rel="next"')

        stand_in.script("tree", *map(page, range(6)))
        with pytest.raises(Damaged, match="in all"):
            hub.open(MODEL, tools.kit)
        assert stand_in.calls["tree"] == 3, "64 MiB are less than three pages of 24 MiB"

    def test_directories_and_submodules_are_no_files(self, hub, stand_in, tools) -> None:
        entries = [
            {"type": "directory", "path": "a", "oid": "ab" * 20},
            {"type": "submodule", "path": "b"},
            _git("a/c"),
        ]
        stand_in.script("tree", _tree(*entries))
        assert [entry.path for entry in hub.open(MODEL, tools.kit).entries()] == ["a", "a/c"]

    @pytest.mark.parametrize("info", [{}, {"id": NAME}, {"id": NAME, "sha": "x"}, {"id": 5, "sha": COMMIT}, []])
    def test_an_alias_that_names_no_commit_is_damage(self, hub, stand_in, info) -> None:
        stand_in.script("info", instead(json_reply(info)))
        with pytest.raises(Damaged):
            hub.alias(f"{NAME}@main")

    def test_an_id_that_leads_elsewhere_is_not_followed(self, hub, stand_in) -> None:
        stand_in.script("info", instead(json_reply({"id": "../../etc", "sha": COMMIT})))
        assert hub.alias(f"{NAME}@main") == f"bge-m3@{COMMIT}"

    def test_a_file_that_is_listed_and_not_there_is_no_missing_file(self, hub, stand_in, tools) -> None:
        source = hub.open(MODEL, tools.kit)
        stand_in.script("resolve", *[instead(refusal(404, "EntryNotFound", "Entry not found"))] * 2)
        for path in ("model.safetensors", "config.json"):
            with pytest.raises(Unavailable, match="though it was listed"):
                source.open(source.find(path)).read_at(0, 2)

    @pytest.mark.parametrize(
        "reply",
        [
            Reply(200, {"Content-Type": "text/html"}, b"<!doctype html>"),
            Reply(206, {"Content-Range": "bytes 1-2/3"}, b"{}"),
            Reply(206, {"Content-Range": "bytes 0-0/1"}, b"{"),
            Reply(200, {"Content-Encoding": "gzip"}, b"{}"),
            Reply(200, {}, b"{"),
        ],
    )
    def test_what_is_not_the_range_that_was_asked_for_is_refused(self, hub, stand_in, tools, reply: Reply) -> None:
        source = hub.open(MODEL, tools.kit)
        stand_in.script("resolve", *[instead(reply)] * 10)
        with pytest.raises(Unavailable):
            source.open(source.find("config.json")).read_at(0, 2)
