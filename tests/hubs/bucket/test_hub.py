import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from hubfs.blobs.gcs.client import GcsClient, GcsSettings
from hubfs.blobs.retry import RetryPolicy
from hubfs.errors import AccessDenied, InvalidConfig, ModelNotFound, TimedOut, Unavailable
from hubfs.hubs.bucket.hub import Bucket
from hubfs.hubs.hub import Hub
from hubfs.hubs.tfhub.names.handle import parse_handle
from hubfs.sources.archive.origin import BucketArchive
from hubfs.sources.files import Manifest
from hubfs.sources.source import Form
from hubfs.waiting import Cancellation
from tests.support.files import files
from tests.support.gcs_server import Fault, GcsServer, gcs_server
from tests.support.http_clients import gcs_client
from tests.support.http_origin import Answer, HttpOrigin, Request
from tests.support.models import pack
from tests.support.sources import Told, contents, source_of

QUICK = RetryPolicy(attempts=3, base_s=0.01, cap_s=0.02)
HUB = "gs://bucket/team/hub"
OBJECTS = (
    # every layout
    "google/spice/1/saved_model.pb",
    "google/spice/1/variables/variables.index",
    "google/spice/2.tar.gz",
    "google/spice/3/uncompressed/saved_model.pb",
    "google/spice/3/README.md",
    "google/spice/5.tgz",
    "google/spice/10.tar",
    "google/spice/notes.txt",
    "google/elmo/3/tfhub_module.pb",
    "google/text/1/saved_model.pbtxt",
    # both forms
    "google/both/4/saved_model.pb",
    "google/both/4.tgz",
    "google/both/4.tar.gz",
    "google/both/4.tar.gz.md5",
    # a handle that begins as another one does
    "google/both/40.tar.gz",
    "google/both/400/saved_model.pb",
    # typed, and numbers in a name
    "google/lite-model/spice/1/model.tflite",
    "google/tfjs-model/spice/1/default/1/model.json",
    "google/tfjs-model/spice/1/default/1/group1-shard1of1.bin",
    "google/tfjs-model/spice/2/default/1.tar.gz",
    "google/tfjs-model/movenet/4.tar.gz",
    "google/tfjs-model/movenet/2/model.json",
    "google/tfjs-model/movenet/3/uncompressed/model.json",
    "google/bert/uncased/L-12/1.0/7/saved_model.pb",
    # what is no model
    "google/empty/1/notes.txt",
    "google/empty/1/model/saved_model.pb",
    "google/.git/HEAD",
    "google/a name/1/saved_model.pb",
    "google/2.tar.gz",
    "google/marked/",
    "Upper/case/1/saved_model.pb",
    ".Trash-0/x/1/saved_model.pb",
    "1.tar.gz",
    "README.md",
    "edge-ai/one/1.tar.gz",
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GcsServer]:
    with gcs_server() as server:
        for bucket in ("bucket", "root-hub", "empty-bucket", "growing"):
            server.create_bucket(bucket)
        for name in OBJECTS:
            server.upload("bucket", f"team/hub/{name}", b"x")
            server.upload("root-hub", name, b"x")
        server.upload("bucket", "team/hub2/google/spice/77.tar.gz", b"x")
        server.upload("bucket", "team/hub", b"an object of the prefix's own name")
        server.upload("bucket", "odd #1?/50%2F/google/spice/2/saved_model.pb", b"x")
        yield server


@pytest.fixture
def server(store: GcsServer) -> GcsServer:
    store.reset()
    return store


@pytest.fixture
def client(server: GcsServer) -> Iterator[GcsClient]:
    with gcs_client(server.url, timeout_s=10) as client:
        yield client


@pytest.fixture(params=[HUB, f"{HUB}/", "gs://root-hub", "gs://root-hub/"])
def anywhere(request: pytest.FixtureRequest, client: GcsClient) -> Bucket:
    """The same hub below a prefix, and as a whole bucket, each with and without a slash at the end."""
    return Bucket(request.param, gcs=client)


def found(hub: Bucket, handle: str) -> tuple[str, Form]:
    """Where the hub finds the model, and in which form."""
    told = hub.open(parse_handle(handle), Told())
    if isinstance(told, Manifest):
        return told.url, told.form
    assert isinstance(told, BucketArchive)
    return told.url, Form.COMPRESSED


@pytest.fixture
def hub(client: GcsClient) -> Bucket:
    return Bucket(HUB, gcs=client)


def test_a_bucket_is_a_hub_that_asks_nothing_when_it_is_made(client: GcsClient, server: GcsServer) -> None:
    hub: Hub = Bucket(f"{HUB}/", gcs=client)
    assert (hub.url, hub.label, hub.lists) == (HUB, "gs:%2F%2Fbucket%2Fteam%2Fhub", True)
    assert Bucket("gs://root-hub/", gcs=client).url == "gs://root-hub"
    assert not server.requests


@pytest.mark.parametrize(
    ("handle", "path", "form"),
    [
        ("google/spice/1", "google/spice/1", Form.UNCOMPRESSED),
        ("google/spice/2", "google/spice/2.tar.gz", Form.COMPRESSED),
        ("google/spice/3", "google/spice/3/uncompressed", Form.UNCOMPRESSED),
        ("google/spice/5", "google/spice/5.tgz", Form.COMPRESSED),
        ("google/spice/10", "google/spice/10.tar", Form.COMPRESSED),
        ("google/elmo/3", "google/elmo/3", Form.UNCOMPRESSED),
        ("google/text/1", "google/text/1", Form.UNCOMPRESSED),
        ("google/both/4", "google/both/4", Form.UNCOMPRESSED),
        ("google/both/40", "google/both/40.tar.gz", Form.COMPRESSED),
        ("google/lite-model/spice/1", "google/lite-model/spice/1", Form.UNCOMPRESSED),
        ("google/tfjs-model/spice/1/default/1", "google/tfjs-model/spice/1/default/1", Form.UNCOMPRESSED),
        ("google/tfjs-model/spice/2/default/1", "google/tfjs-model/spice/2/default/1.tar.gz", Form.COMPRESSED),
        ("google/bert/uncased/L-12/1.0/7", "google/bert/uncased/L-12/1.0/7", Form.UNCOMPRESSED),
    ],
)
def test_a_model_is_found_in_every_layout(
    anywhere: Bucket, server: GcsServer, handle: str, path: str, form: Form
) -> None:
    assert found(anywhere, handle) == (f"{anywhere.url}/{path}", form)
    assert len(server.requests) == 2, "one question for each form; the folder that is there is listed"
    if form is Form.UNCOMPRESSED:
        server.reset()
        assert anywhere.folder(parse_handle(handle)) == f"{anywhere.url}/{path}"
        assert len(server.requests) == 1
    assert not server.downloads


@pytest.mark.parametrize("configured", [None, Form.UNCOMPRESSED, Form.COMPRESSED])
def test_the_form_that_is_asked_for_counts_before_the_configured_one(
    client: GcsClient, server: GcsServer, configured: Form | None
) -> None:
    hub, model = Bucket(HUB, gcs=client, form=configured), parse_handle("google/both/4")
    assert hub.folder(model) == f"{HUB}/google/both/4"
    assert len(server.requests) == 1
    archive = hub.load(model, {"form": "compressed"}, Told())
    assert isinstance(archive, BucketArchive)
    assert archive.url == f"{HUB}/google/both/4.tar.gz"
    assert len(server.requests) == 2


def test_what_the_cache_has_and_the_bucket_no_longer_is_not_told_as_a_file_that_does_not_exist(
    hub: Bucket,
) -> None:
    with pytest.raises(Unavailable, match=r"2 with \.tar.* what is cached of google/absent/2 can still be read"):
        hub.load(parse_handle("google/absent/2"), {"form": "compressed"}, Told())


def test_a_folder_that_lets_nobody_in_is_left_for_the_archive(hub: Bucket, server: GcsServer) -> None:
    server.spoil(Fault(), Fault(status=403))
    assert found(hub, "google/both/4") == (f"{HUB}/google/both/4.tar.gz", Form.COMPRESSED)
    server.spoil(Fault(), Fault(status=403))
    with pytest.raises(AccessDenied):
        found(hub, "google/spice/1")


def test_a_folder_that_was_asked_for_and_lets_nobody_in_is_no_archive(client: GcsClient, server: GcsServer) -> None:
    server.spoil(Fault(), Fault(status=403))
    with pytest.raises(AccessDenied):
        found(Bucket(HUB, gcs=client, form=Form.UNCOMPRESSED), "google/both/4")
    assert len(server.requests) == 2


def test_the_configured_form_narrows(client: GcsClient, server: GcsServer) -> None:
    archives, folders = Bucket(HUB, gcs=client, form=Form.COMPRESSED), Bucket(HUB, gcs=client, form=Form.UNCOMPRESSED)
    assert found(archives, "google/both/4") == (f"{HUB}/google/both/4.tar.gz", Form.COMPRESSED)
    assert found(folders, "google/both/4") == (f"{HUB}/google/both/4", Form.UNCOMPRESSED)
    with pytest.raises(ModelNotFound, match=r"compressed: there is no gs://bucket/team/hub/google/spice/1 with \.tar"):
        found(archives, "google/spice/1")
    with pytest.raises(ModelNotFound, match=r"uncompressed: gs://bucket/team/hub/google/spice/2/ holds neither saved_"):
        found(folders, "google/spice/2")
    with pytest.raises(ModelNotFound, match=r"gs://bucket/team/hub/google/spice/2/ holds neither saved_"):
        archives.folder(parse_handle("google/spice/2"))
    assert len(server.requests) == 4 + 1 + 1, "of the folder there was a listing"


def test_a_form_that_buckets_do_not_have_is_not_found_without_asking(client: GcsClient, server: GcsServer) -> None:
    with pytest.raises(ModelNotFound, match="no other form"):
        found(Bucket(HUB, gcs=client, form=Form.FILE), "google/spice/1")
    assert not server.requests


@pytest.mark.parametrize(
    "handle",
    [
        "google/spice/4",
        "google/spice/77",
        "google/empty/1",
        "google/absent/1",
        "nobody/spice/1",
        "google/both/4000",
        "google/tfjs-model/spice/2",
        "google/tfjs-model/spice/1",
    ],
)
def test_what_the_bucket_does_not_hold_is_not_found_and_the_message_says_what_was_tried(
    anywhere: Bucket, server: GcsServer, handle: str
) -> None:
    with pytest.raises(ModelNotFound) as caught:
        found(anywhere, handle)
    message = str(caught.value)
    assert message.startswith(f"{anywhere.url} has no model {handle} (")
    assert f"{anywhere.url}/{handle}/ holds neither saved_model.pb, " in message
    assert f"there is no {anywhere.url}/{handle} with .tar.gz, .tgz, .tar" in message
    assert len(server.requests) == 2


def test_versions_are_folders_and_archives_in_the_order_of_numbers(anywhere: Bucket, server: GcsServer) -> None:
    assert anywhere.versions("google/spice") == ["1", "2", "3", "5", "10"]
    assert len(server.requests) == 1
    assert anywhere.alias("google/spice") == "10"
    assert anywhere.versions("google/both") == ["4", "40", "400"]
    assert anywhere.versions("google/bert/uncased/L-12/1.0") == ["7"]


def test_a_number_in_a_typed_name_is_no_version(anywhere: Bucket, server: GcsServer) -> None:
    assert anywhere.versions("google/tfjs-model/spice") == []
    assert anywhere.versions("google/tfjs-model/spice/1/default") == ["1"]
    assert anywhere.versions("google/tfjs-model/spice/2/default") == ["1"]
    assert anywhere.versions("google/tfjs-model/movenet") == ["2", "3", "4"]
    assert anywhere.alias("google/tfjs-model/movenet") == "4"
    assert anywhere.versions("google/lite-model/spice") == ["1"]
    assert len(server.requests) == 6


@pytest.mark.parametrize("name", ["google/bert", "google/absent", "google", "google/lite-model"])
def test_a_name_without_versions_has_none_and_no_latest(anywhere: Bucket, name: str) -> None:
    assert anywhere.versions(name) == []
    with pytest.raises(ModelNotFound, match=f"{anywhere.url} has no version of {name}"):
        anywhere.alias(name)


@pytest.mark.parametrize(
    ("folder", "children"),
    [
        ("", ["edge-ai", "google"]),
        ("google", ["bert", "both", "elmo", "empty", "lite-model", "marked", "spice", "text", "tfjs-model"]),
        ("google/spice", ["1", "10", "2", "3", "5"]),
        ("google/both", ["4", "40", "400"]),
        ("google/bert", ["uncased"]),
        ("google/bert/uncased", ["L-12"]),
        ("google/tfjs-model", ["movenet", "spice"]),
        ("google/tfjs-model/spice", ["1", "2"]),
        ("google/tfjs-model/spice/2/default", ["1"]),
        ("edge-ai/one", ["1"]),
        ("google/marked", []),
        ("google/absent", []),
        ("absent", []),
    ],
)
def test_children_are_the_names_that_can_lead_to_a_model(
    anywhere: Bucket, server: GcsServer, folder: str, children: list[str]
) -> None:
    assert anywhere.children(folder) == children
    assert len(server.requests) == 1


@pytest.mark.parametrize("junk", [".git", ".Trash-0", "AACS", "google/.git", "google/a name", "Upper/case", "a//b"])
def test_junk_names_cost_no_request(anywhere: Bucket, server: GcsServer, junk: str) -> None:
    assert anywhere.children(junk) == []
    assert anywhere.versions(junk) == []
    assert not server.requests


def test_a_walk_from_the_root_finds_every_model(anywhere: Bucket) -> None:
    models, folders = set(), [*anywhere.children("")]
    while folders:
        folder = folders.pop()
        versions = anywhere.versions(folder)
        models |= {f"{folder}/{version}" for version in versions}
        folders += [f"{folder}/{child}" for child in anywhere.children(folder) if child not in versions]
    models.remove("google/empty/1")  # a number that holds no model
    assert models == {
        *(f"google/spice/{version}" for version in (1, 2, 3, 5, 10)),
        *(f"google/both/{version}" for version in (4, 40, 400)),
        *(f"google/tfjs-model/movenet/{version}" for version in (2, 3, 4)),
        "google/elmo/3",
        "google/text/1",
        "google/lite-model/spice/1",
        "google/tfjs-model/spice/1/default/1",
        "google/tfjs-model/spice/2/default/1",
        "google/bert/uncased/L-12/1.0/7",
        "edge-ai/one/1",
    }
    for model in models:
        assert found(anywhere, model)


def test_a_new_version_shows_at_once(client: GcsClient, server: GcsServer) -> None:
    hub = Bucket("gs://growing/new", gcs=client)
    with pytest.raises(ModelNotFound):
        hub.alias("google/fresh")
    server.upload("growing", "new/google/fresh/1.tar.gz", b"x")
    assert hub.alias("google/fresh") == "1"
    server.upload("growing", "new/google/fresh/2/saved_model.pb", b"x")
    assert hub.alias("google/fresh") == "2"
    assert found(hub, "google/fresh/2")[1] is Form.UNCOMPRESSED


def test_what_is_found_can_be_opened(client: GcsClient, server: GcsServer, small: Path, tmp_path: Path) -> None:
    archive = pack(small, tmp_path / "small.tar.gz").read_bytes()
    server.upload("growing", "open/noise/small/1.tar.gz", archive)
    for path, data in files(small).items():
        server.upload("growing", f"open/noise/small/2/{path}", data)
    hub = Bucket("gs://growing/open", gcs=client)
    compressed, uncompressed = parse_handle("noise/small/1"), parse_handle("noise/small/2")
    assert b"".join(hub.open(compressed, Told()).stream(None).chunks()) == archive
    assert contents(source_of(hub.open(uncompressed, Told()), uncompressed)) == files(small)


def test_an_empty_bucket_is_an_empty_hub(client: GcsClient, server: GcsServer) -> None:
    hub = Bucket("gs://empty-bucket", gcs=client)
    assert hub.children("") == []
    assert hub.versions("google/spice") == []
    with pytest.raises(ModelNotFound, match="gs://empty-bucket has no model google/spice/2"):
        found(hub, "google/spice/2")
    server.upload("empty-bucket", "google/spice/2.tar.gz", b"x")
    assert hub.children("") == ["google"]


def test_what_no_path_leads_into_is_not_listed(client: GcsClient, server: GcsServer) -> None:
    hub = Bucket("gs://growing/odd", gcs=client)
    for name in ("google/spice/2", "google/spice/latest/2", "google/collection/pitch/1", "google//twice/1"):
        server.upload("growing", f"odd/{name}/saved_model.pb", b"x")
    assert hub.children("google") == ["spice"]
    assert hub.children("google/spice") == ["2"]


def test_a_prefix_is_a_folder_and_not_the_start_of_a_name(client: GcsClient) -> None:
    assert Bucket("gs://bucket/team/hub", gcs=client).versions("google/spice")[-1] == "10"
    assert Bucket("gs://bucket/team/hub2", gcs=client).versions("google/spice") == ["77"]
    assert Bucket("gs://bucket/team/hu", gcs=client).children("") == []


def test_a_prefix_may_hold_any_character(client: GcsClient) -> None:
    hub = Bucket("gs://bucket/odd #1?/50%2F/", gcs=client)
    assert hub.url == "gs://bucket/odd #1?/50%2F"
    assert hub.children("google") == ["spice"]
    assert hub.folder(parse_handle("google/spice/2")) == "gs://bucket/odd #1?/50%2F/google/spice/2"


@pytest.mark.slow
def test_pages_are_followed(tmp_path: Path) -> None:
    for name in ("one", "tfjs-model/x"):
        for number in range(1, 1051):
            put(tmp_path / f"data/bucket/google/{name}/{number}.tgz")
    with gcs_server(tmp_path / "data") as server, gcs_client(server.url) as client:
        hub = Bucket("gs://bucket", gcs=client)
        assert hub.versions("google/one") == [str(number) for number in range(1, 1051)]
        assert len(hub.children("google/one")) == 1050
        assert hub.alias("google/tfjs-model/x") == "1050"
        assert len(server.requests) == 3 * 2


def put(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"x")


@pytest.mark.slow
def test_hundreds_of_models_are_listed_by_one_request_a_folder(tmp_path: Path) -> None:
    for number in range(400):
        put(tmp_path / f"data/bucket/google/m{number}/{number}/saved_model.pb")
    with gcs_server(tmp_path / "data") as server, gcs_client(server.url) as client:
        hub = Bucket("gs://bucket", gcs=client)
        assert hub.children("google") == sorted(f"m{number}" for number in range(400))
        assert len(server.requests) == 1


def test_pages_of_folders_are_followed() -> None:
    # The emulator has all folders on the first page, whatever their number; Google's store counts them.
    def page(request: Request) -> Answer:
        asked = parse_qs(request.query)
        assert (asked["prefix"], asked["delimiter"]) == (["hub/google/"], ["/"])
        number = int(asked.get("pageToken", ["0"])[0])
        body: dict[str, object] = {"prefixes": [f"hub/google/m{number}/"]}
        if number < 3:
            body["nextPageToken"] = str(number + 1)
        return Answer(200, {}, json.dumps(body).encode())

    with HttpOrigin() as origin:
        origin.route("/storage/v1/b/bucket/o", page)
        with gcs_client(origin.url) as client:
            assert Bucket("gs://bucket/hub", gcs=client).children("google") == ["m0", "m1", "m2", "m3"]


def test_a_store_that_lists_deeper_than_it_was_asked_shows_no_names_with_slashes() -> None:
    listed = {"prefixes": ["hub/google/spice/1/", "hub/google/spice/deeper/2/", "hub/google/spice/3/4/"]}
    with HttpOrigin() as origin:
        origin.route("/storage/v1/b/bucket/o", lambda _: Answer(200, {}, json.dumps(listed).encode()))
        with gcs_client(origin.url) as client:
            hub = Bucket("gs://bucket/hub", gcs=client)
            assert hub.versions("google/spice") == ["1"]
            assert hub.children("google/spice") == ["1"]


@pytest.mark.parametrize("url", ["gs://nobucket", "gs://nobucket/team/hub"])
def test_a_bucket_that_does_not_exist_is_no_hub(client: GcsClient, server: GcsServer, url: str) -> None:
    hub = Bucket(url, gcs=client)
    for ask in (
        lambda: found(hub, "google/spice/2"),
        lambda: hub.folder(parse_handle("google/spice/2")),
        lambda: hub.alias("google/spice"),
        lambda: hub.versions("google/tfjs-model/spice"),
        lambda: hub.children(""),
    ):
        server.reset()
        with pytest.raises(Unavailable, match=rf"no bucket gs://nobucket, so {url} is no hub: check --hub .*404"):
            ask()
        assert len(server.requests) == 1


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_is_access_denied_and_says_what_to_configure(hub: Bucket, server: GcsServer, status: int) -> None:
    for ask in (lambda: found(hub, "google/spice/2"), lambda: hub.children("")):
        server.spoil(Fault(status=status))
        with pytest.raises(AccessDenied, match=rf"{HUB}/.*{status}.*'anon'.*HUBFS_GCS_TOKEN"):
            ask()


def test_server_errors_are_asked_again_and_then_unavailable(hub: Bucket, server: GcsServer) -> None:
    server.spoil(Fault(status=503), Fault(status=429))
    assert hub.alias("google/spice") == "10"
    assert len(server.requests) == 3
    server.spoil(*[Fault(status=503)] * 5)
    with pytest.raises(Unavailable, match="503"):
        hub.alias("google/spice")


def test_a_store_that_falls_silent_times_out(server: GcsServer) -> None:
    once = RetryPolicy(attempts=1)
    server.spoil(Fault(stall_s=2))
    with gcs_client(server.url, timeout_s=0.3, retry=once) as client, pytest.raises(TimedOut, match=HUB):
        Bucket(HUB, gcs=client).children("")


def test_a_store_that_died_is_unavailable_and_not_an_empty_hub(tmp_path: Path) -> None:
    put(tmp_path / "data/bucket/google/spice/2/saved_model.pb")
    with gcs_server(tmp_path / "data") as server:
        client = GcsClient(GcsSettings(endpoint_url=server.url, timeout_s=2, retry=QUICK), Cancellation())
        hub = Bucket("gs://bucket", gcs=client)
        assert hub.alias("google/spice") == "2"
    with pytest.raises(Unavailable, match=r"gs://bucket/: .* Connection refused"):
        hub.children("")
    with pytest.raises(Unavailable):
        found(hub, "google/spice/2")
    client.close()


@pytest.mark.parametrize(
    "url", ["gs://", "gs:///x", "gs://Bucket/x", "gs://a b/x", "gs://b@d/x", "https://host/x", "bucket", "gs://bu/a\nb"]
)
def test_what_is_no_bucket_is_refused_when_it_is_configured(client: GcsClient, url: str) -> None:
    with pytest.raises(InvalidConfig, match="is not a hub in a bucket: give gs://BUCKET"):
        Bucket(url, gcs=client)


def test_a_password_in_a_hub_is_not_shown(client: GcsClient) -> None:
    with pytest.raises(InvalidConfig) as caught:
        Bucket("gs://user:secret@bucket/x", gcs=client)
    assert "secret" not in str(caught.value)
