import json
import random
import time
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager

import pytest

from hubfs.blobs.http import blob as http_blob
from hubfs.errors import AccessDenied, Damaged, EntryNotFound, InvalidConfig, InvalidHandle, ModelNotFound, Unavailable
from hubfs.hubs.hub import Hub
from hubfs.hubs.kaggle import names
from hubfs.hubs.kaggle.dialects import dialect_of, fields_of
from hubfs.hubs.place import Alias, Folder, InModel, Link
from hubfs.model_id import ModelId
from tests.support.kaggle import KaggleStandIn
from tests.support.kaggle_replies import Reply, error_in_a_200, instead, json_reply, refusal, too_many
from tests.support.kits import Workshop, made_hub
from tests.support.sources import contents
from tests.support.waiting import eventually

NAME = "google/yamnet/tensorFlow2/yamnet"
MODEL, NEWER = ModelId(NAME, "1"), ModelId(NAME, "3")
LARGE = random.Random(7).randbytes(5 << 20)
FILES = {"saved_model.pb": b"graph" * 100, "variables/variables.data": LARGE, "assets/a b+é.csv": b"a,b", "empty": b""}
LIST, DOWNLOAD = "ListModelInstanceVersionFiles", "DownloadModelInstanceVersion"


@pytest.fixture
def kaggle() -> Iterator[KaggleStandIn]:
    with KaggleStandIn(page_sizes=2) as kaggle:
        kaggle.put(str(MODEL), FILES)
        kaggle.put(str(NEWER), {"x": b"y"})
        kaggle.put("google/spice/tfLite/spice/1", {"x": b"y"})
        yield kaggle


def made(kaggle: KaggleStandIn, tools: Workshop, **environ: str) -> AbstractContextManager[Hub]:
    return made_hub("kaggle:", tools, {"kaggle": kaggle.url}, **environ)


@pytest.fixture(params=["rpc", "rest"])
def hub(request: pytest.FixtureRequest, kaggle: KaggleStandIn, tools: Workshop) -> Iterator[Hub]:
    with made(kaggle, tools, HUBFS_KAGGLE_DIALECT=request.param) as hub:
        yield hub


@pytest.mark.parametrize(
    "text",
    [
        f"{NAME}/1",
        "google/yamnet/TENSORFLOW2/yamnet/1",
        f"kaggle:{NAME}/1",
        f"kaggle://{NAME}/1",
        f"https://www.kaggle.com/models/{NAME}/1?tf-hub-format=compressed",
        f"https://kaggle.com/models/{NAME}/1/download",
        "https://www.kaggle.com/models/google/yamnet/frameworks/TensorFlow2/variations/yamnet/versions/1",
        f"https://www.kaggle.com/api/v1/models/{NAME}/1/download/saved_model.pb",
    ],
)
def test_every_form_of_a_handle_names_the_model(text: str) -> None:
    assert names.find(text) == (NAME, "1")


def test_a_url_without_version_is_the_latest() -> None:
    assert names.find(f"https://www.kaggle.com/models/{NAME}") == (NAME, None)
    assert names.find("https://www.kaggle.com/models/google/yamnet/frameworks/tfLite/variations/tflite") == (
        "google/yamnet/tfLite/tflite",
        None,
    )


@pytest.mark.parametrize(
    "text", ["https://www.kaggle.com/models/google/yamnet", "https://www.kaggle.com/code/x", "google/yamnet/cobol/x/1"]
)
def test_what_names_no_variation_is_refused(text: str) -> None:
    with pytest.raises(InvalidHandle):
        names.find(text)


def test_a_path_is_a_place_by_its_grammar() -> None:
    assert names.place_of("/google/yamnet") == Folder(("google", "yamnet"))
    assert names.place_of("/google/yamnet/tensorflow2") == Link("tensorFlow2")
    assert names.place_of(f"/{NAME}/latest") == Alias(NAME)
    assert names.place_of(f"/{NAME}/1/a/b") == InModel(MODEL, "a/b")
    for path in ("/.git", "/google/yamnet/cobol", f"/{NAME}/0", f"/{NAME}/one", f"/{NAME}/1000000000"):
        with pytest.raises(EntryNotFound):
            names.place_of(path)


def test_an_owner_that_none_can_be_is_no_hub(kaggle: KaggleStandIn, tools: Workshop) -> None:
    with pytest.raises(InvalidConfig), made_hub("kaggle:a/b", tools, {}):
        pass


def test_a_dialect_that_there_is_not_is_said(kaggle: KaggleStandIn, tools: Workshop) -> None:
    with (
        pytest.raises(InvalidConfig, match=r"HUBFS_KAGGLE_DIALECT .*soap"),
        made(kaggle, tools, HUBFS_KAGGLE_DIALECT="soap"),
    ):
        pass


@pytest.mark.parametrize("dialect", ["", "rpc", "rest"])
def test_a_dialect_is_spoken_alone(kaggle: KaggleStandIn, tools: Workshop, dialect: str) -> None:
    with made(kaggle, tools, **({"HUBFS_KAGGLE_DIALECT": dialect} if dialect else {})) as hub:
        assert contents(hub.open(MODEL, tools.kit)) == FILES
        assert [*hub.children("google")] == ["spice", "yamnet"]
        assert [*hub.versions(NAME)] == ["1", "3"]
        assert hub.alias(NAME) == "3"
    assert kaggle.dialects == {"rest" if dialect == "rest" else "rpc"}


def test_questions_are_put_as_clients_of_kaggle_put_them() -> None:
    rpc, rest = dialect_of("rpc", None), dialect_of("rest", None)
    fields = {**fields_of(NAME, "1"), "path": "assets/a b+é.csv"}
    asked = rpc.question("DownloadModelInstanceVersion", fields)
    assert asked.url == "https://api.kaggle.com/v1/models.ModelApiService/DownloadModelInstanceVersion"
    assert json.loads(asked.body or b"") == {
        "ownerSlug": "google",
        "modelSlug": "yamnet",
        "framework": "MODEL_FRAMEWORK_TENSOR_FLOW_2",
        "instanceSlug": "yamnet",
        "versionNumber": 1,
        "path": "assets/a b+é.csv",
    }
    asked = rest.question("DownloadModelInstanceVersion", fields)
    assert asked.url == f"https://www.kaggle.com/api/v1/models/{NAME}/1/download/assets/a%20b%2B%C3%A9.csv"
    asked = rest.question("ListModels", {"owner": "google", "pageSize": 100})
    assert asked.url == "https://www.kaggle.com/api/v1/models/list?owner=google&pageSize=100"
    for framework, constant in {"tfLite": "TF_LITE", "pyTorch": "PY_TORCH", "tensorRtLlm": "TENSOR_RT_LLM"}.items():
        body = rpc.question("GetModelInstance", fields_of(f"a/b/{framework}/c")).body or b""
        assert json.loads(body)["framework"] == f"MODEL_FRAMEWORK_{constant}"


def test_listings_lead_to_every_version(hub: Hub) -> None:
    assert [*hub.children("google")] == ["spice", "yamnet"]
    assert [*hub.children("google/yamnet")] == ["tensorFlow2"]
    assert [*hub.children("google/yamnet/tensorFlow2")] == ["yamnet"]
    assert [*hub.children(NAME)] == ["1", "3"]
    assert [*hub.children("nobody")] == []
    assert hub.alias(NAME) == "3"


def test_all_names_below_an_owner_or_a_model_cost_one_list(hub: Hub, kaggle: KaggleStandIn) -> None:
    kaggle.put("google/yamnet/tfLite/classification-tflite/1", FILES)
    assert sorted(hub.below("google")) == [
        "google/spice/tfLite/spice",
        NAME,
        "google/yamnet/tfLite/classification-tflite",
    ]
    assert kaggle.calls["ListModels"] == 1
    assert [*hub.below("google/spice")] == ["google/spice/tfLite/spice"]
    assert [*hub.below("nobody")] == []


def test_versions_that_are_not_listed_are_counted(hub: Hub, kaggle: KaggleStandIn) -> None:
    kaggle.anonymous_lists = False
    assert [*hub.versions(NAME)] == ["1", "2", "3"]


def test_a_file_costs_one_download_call_for_any_number_of_reads_and_readers(
    hub: Hub, kaggle: KaggleStandIn, tools: Workshop
) -> None:
    source = hub.open(MODEL, tools.kit)
    blob = source.open(source.find("variables/variables.data"))
    with ThreadPoolExecutor(16) as readers:
        assert set(readers.map(lambda _: blob.read_at(0, len(LARGE)) == LARGE, range(16))) == {True}
    assert kaggle.calls[LIST] == 2, "the list has two pages"
    assert kaggle.calls[DOWNLOAD] == 1
    assert kaggle.body_bytes <= len(LARGE) + 512


def test_a_signed_url_that_expires_is_renewed_once(hub: Hub, kaggle: KaggleStandIn, tools: Workshop) -> None:
    source = hub.open(MODEL, tools.kit)
    blob = source.open(source.find("variables/variables.data"))
    assert blob.read_at(0, 100) == LARGE[:100]
    kaggle.store.forget_urls()
    assert blob.read_at(4 << 20, 1 << 20) == LARGE[4 << 20 :]
    assert kaggle.calls[DOWNLOAD] == 2


def test_a_signed_url_is_renewed_before_the_store_refuses_it(
    hub: Hub, kaggle: KaggleStandIn, tools: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = hub.open(MODEL, tools.kit)
    blob = source.open(source.find("variables/variables.data"))
    assert blob.read_at(0, 100) == LARGE[:100]
    three_days_s = 259_200
    monkeypatch.setattr(http_blob, "time", lambda: time.time() + three_days_s - 200)
    assert blob.read_at(4 << 20, 1 << 20) == LARGE[4 << 20 :]
    assert kaggle.calls[DOWNLOAD] == 2
    assert {request.status for request in kaggle.stored} == {206}, "nothing was refused"
    monkeypatch.setattr(http_blob, "time", lambda: time.time() + 3 * three_days_s)  # a clock that is wrong
    assert blob.read_at(2 << 20, 100) == LARGE[2 << 20 : (2 << 20) + 100]
    assert blob.read_at(3 << 20, 100) == LARGE[3 << 20 : (3 << 20) + 100]
    assert kaggle.calls[DOWNLOAD] == 3


def test_another_spelling_of_a_framework_is_the_same_model(hub: Hub) -> None:
    assert hub.names.parse("google/yamnet/tensorflow2/yamnet/1") == MODEL


def test_a_list_that_lies_about_a_size_is_damage(hub: Hub, kaggle: KaggleStandIn, tools: Workshop) -> None:
    kaggle.put(str(MODEL), FILES, listed={"saved_model.pb": 499})
    source = hub.open(MODEL, tools.kit)
    with pytest.raises(Damaged, match="has 500 bytes: Kaggle's list of the files says 499"):
        source.open(source.find("saved_model.pb")).read_at(0, 10)


@pytest.mark.parametrize("hashes", [("crc32c", "md5"), ("md5",)])
def test_a_wrong_byte_under_a_right_hash_is_damage_and_nothing_of_it_is_kept(
    hub: Hub, kaggle: KaggleStandIn, tools: Workshop, hashes: tuple[str, ...]
) -> None:
    kaggle.store.hashes = hashes
    kaggle.store.rot(kaggle.object_of(str(MODEL), "variables/variables.data"), 3_000_000)
    source = hub.open(MODEL, tools.kit)
    with pytest.raises(Damaged, match=f"its {hashes[0]} is [0-9a-f]+, and the store announced [0-9a-f]+"):
        source.open(source.find("variables/variables.data")).read_at(0, len(LARGE))
    assert eventually(lambda: not tools.cache.cached_bytes(source.model))  # a fetch beside it drops its own, too
    kaggle.store.mend()
    assert contents(hub.open(MODEL, tools.kit)) == FILES


def test_a_wrong_byte_that_an_earlier_mount_kept_is_found_when_the_file_is_whole(
    hub: Hub, kaggle: KaggleStandIn, tools: Workshop
) -> None:
    kaggle.store.rot(kaggle.object_of(str(MODEL), "variables/variables.data"), 100)
    source = hub.open(MODEL, tools.kit)
    source.open(source.find("variables/variables.data")).read_at(0, 1 << 20)
    kaggle.store.mend()
    kept = tools.kept(source.model)
    later = hub.load(MODEL, kept, tools.kit)
    blob = later.open(later.find("variables/variables.data"))
    assert blob.read_at(2 << 20, 1 << 20) == LARGE[2 << 20 : 3 << 20]
    with pytest.raises(Damaged):
        blob.read_at(0, len(LARGE))
    assert contents(hub.open(MODEL, tools.kit)) == FILES


def test_a_token_that_comes_again_ends_the_list(hub: Hub, kaggle: KaggleStandIn) -> None:
    kaggle.repeats_token = True
    assert [*hub.children("google")] == ["spice", "yamnet"]
    assert kaggle.calls["ListModels"] == 2


class TestRefusals:
    """A 403 of Kaggle's, told apart as far as it can be."""

    def test_a_consent_that_is_missing_names_the_page_where_it_is_given(self, hub, kaggle, tools) -> None:
        kaggle.script(LIST, instead(refusal(403, "User has not consented to terms of use")))
        with pytest.raises(AccessDenied, match=f"consent; give it at https://www.kaggle.com/models/{NAME}"):
            hub.open(MODEL, tools.kit)
        assert not kaggle.calls["ListModels"]

    def test_so_does_one_that_only_the_download_asks_for(self, hub, kaggle, tools) -> None:
        kaggle.gated.add("google/yamnet")
        source = hub.open(MODEL, tools.kit)
        with pytest.raises(AccessDenied, match=f"consent; give it at https://www.kaggle.com/models/{NAME}"):
            source.open(source.find("saved_model.pb")).read_at(0, 10)

    def test_a_private_model_may_not_be_there(self, hub, kaggle, tools) -> None:
        kaggle.private.add("google/yamnet")
        with pytest.raises(AccessDenied, match=r"is private, or it is not there \(hubfs signs in by no credentials"):
            hub.open(MODEL, tools.kit)

    @pytest.mark.parametrize(
        "handle",
        [
            "google/nothing/tensorFlow2/yamnet/1",
            "google/yamnet/tfLite/yamnet/1",
            "google/yamnet/tensorFlow2/other/1",
            f"{NAME}/4",
        ],
    )
    def test_what_the_list_of_the_owner_lacks_is_not_there(self, hub, kaggle, tools, handle: str) -> None:
        kaggle.hides_missing = True
        model = hub.names.parse(handle)
        with pytest.raises(ModelNotFound, match="the list of its owner's models does not have"):
            hub.open(model, tools.kit)
        assert kaggle.calls["ListModels"] == 1
        if not handle.startswith(NAME):
            with pytest.raises(ModelNotFound):
                hub.alias(model.name)

    def test_what_it_has_is_there(self, hub, kaggle, tools) -> None:
        kaggle.script(LIST, instead(refusal(403, "Permission denied")))
        with pytest.raises(AccessDenied, match="it is there"):
            hub.open(MODEL, tools.kit)

    def test_without_the_list_nobody_knows(self, hub, kaggle, tools) -> None:
        kaggle.script(LIST, error_in_a_200(403, "Permission denied"))
        kaggle.script("ListModels", instead(refusal(403, "Permission denied")))
        with pytest.raises(AccessDenied, match="the same of a private model, and of some that do not exist"):
            hub.open(MODEL, tools.kit)

    def test_credentials_that_are_refused_are_said_to_be(self, hub, kaggle, tools) -> None:
        kaggle.script(LIST, instead(refusal(401, "Unauthenticated")))
        with pytest.raises(AccessDenied, match="wants other credentials"):
            hub.open(MODEL, tools.kit)


def test_an_error_in_a_200_is_an_error(hub: Hub, kaggle: KaggleStandIn, tools: Workshop) -> None:
    kaggle.script(LIST, error_in_a_200(404, "Not found"))
    with pytest.raises(ModelNotFound, match="404: Not found"):
        hub.open(MODEL, tools.kit)


def test_429_is_obeyed(hub: Hub, kaggle: KaggleStandIn, tools: Workshop) -> None:
    kaggle.script(LIST, too_many(0))
    assert contents(hub.open(MODEL, tools.kit)) == FILES
    assert kaggle.calls[LIST] == 3, "two pages, and the first one twice"


def test_429_in_a_200_is_obeyed(hub: Hub, kaggle: KaggleStandIn, tools: Workshop) -> None:
    kaggle.script(LIST, error_in_a_200(429, "Too many requests"))
    kaggle.script(DOWNLOAD, *[error_in_a_200(429, "Too many requests")] * 2)
    assert contents(hub.open(MODEL, tools.kit)) == FILES
    assert kaggle.calls[LIST] == 3


def test_while_kaggle_asks_to_be_left_alone_this_hub_asks_nothing_and_others_do(
    hub: Hub, kaggle: KaggleStandIn, tools: Workshop
) -> None:
    kaggle.script(LIST, too_many(600))
    said = "429: Too many requests; .* asked again after .* UTC"
    with pytest.raises(Unavailable, match=said):
        hub.open(MODEL, tools.kit)
    for ask in (lambda: hub.open(NEWER, tools.kit), lambda: hub.alias(NAME), lambda: hub.children("google")):
        with pytest.raises(Unavailable, match=said):
            ask()
    assert sum(kaggle.calls.values()) == 1
    with made(kaggle, tools) as other:
        assert other.alias(NAME) == "3"


def test_readers_go_on_at_the_store_while_kaggle_asks_to_be_left_alone(
    hub: Hub, kaggle: KaggleStandIn, tools: Workshop
) -> None:
    source = hub.open(MODEL, tools.kit)
    blob = source.open(source.find("variables/variables.data"))
    assert blob.read_at(0, 100) == LARGE[:100]
    kaggle.script("GetModelInstance", too_many(600))
    with pytest.raises(Unavailable):
        hub.alias(NAME)
    assert blob.read_at(4 << 20, 1 << 20) == LARGE[4 << 20 :]


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"files": 5}', b'{"files": [{"name": 7}]}', b'{"files": ["x"]}'])
def test_an_answer_that_is_none_is_damage(hub: Hub, kaggle: KaggleStandIn, tools: Workshop, body: bytes) -> None:
    kaggle.script(LIST, instead(Reply(200, {}, body)))
    with pytest.raises(Damaged):
        hub.open(MODEL, tools.kit)


def test_a_page_that_no_url_can_ask_for_is_damage(hub: Hub, kaggle: KaggleStandIn, tools: Workshop) -> None:
    kaggle.script(LIST, instead(Reply(200, {}, b'{"files": [], "nextPageToken": "a\\ud800"}')))
    with pytest.raises(Damaged, match="next page"):
        hub.open(MODEL, tools.kit)


def test_a_list_whose_pages_never_end_is_refused_by_its_length(
    hub: Hub, kaggle: KaggleStandIn, tools: Workshop
) -> None:
    def page(number: int) -> Reply:
        item = {"name": f"{number}", "size": 1, "more": "x" * (6 << 20)}
        return json_reply({"files": [item], "nextPageToken": b64encode(b"%d" % number).decode()})

    kaggle.script(LIST, *(instead(page(number)) for number in range(1, 9)))
    with pytest.raises(Damaged, match="in all"):
        hub.open(MODEL, tools.kit)
    assert kaggle.calls[LIST] == 3, "16 MiB are less than three pages of 6 MiB"
