"""By which way a model of tfhub.dev as it is today is found: with a real bucket, and a hub on HTTP."""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import ClassVar

import pytest

from hubfs.blobs.gcs.client import GcsClient, GcsSettings
from hubfs.blobs.gcs.object import bucket_and_name
from hubfs.blobs.retry import Busy, Permanent
from hubfs.errors import AccessDenied, Damaged, HubfsError, ModelNotFound, Stale, TimedOut, Unavailable
from hubfs.hubs.hub import Means, WayTold, make_hub
from hubfs.hubs.tfhub.at_kaggle import AtKaggle
from hubfs.hubs.tfhub.bundled import bundled_catalogue
from hubfs.hubs.tfhub.hub import TfHub
from hubfs.hubs.tfhub.names.handle import Kind, parse_handle
from hubfs.hubs.tfhub.tried import Tried
from hubfs.hubs.tfhub.ways import PUBLIC_BUCKET, REST_S, Shut, Untold, Way, next_step, rests_after, ways_to
from hubfs.model_id import ModelId
from hubfs.sources.source import Form, Source
from hubfs.testing import Clock
from hubfs.waiting import Cancellation
from tests.support.files import files
from tests.support.gcs_server import Fault, GcsServer, gcs_server
from tests.support.http_clients import QUICK, gcs_client, http_client
from tests.support.kaggle import KaggleStandIn
from tests.support.kaggle_replies import instead, refusal
from tests.support.kits import Workshop, workshop
from tests.support.models import pack
from tests.support.nginx import nginx_hub
from tests.support.sources import contents
from tests.support.waiting import eventually

SPICE, NNLM, ABSENT = ModelId("google/spice", "2"), ModelId("google/nnlm", "1"), ModelId("google/absent", "1")
YAMNET = ModelId("google/yamnet", "1")
"""The catalogue has its name at Kaggle."""
EUPHONIA = ModelId("google/euphonia_spice/classification", "1")
"""The catalogue has it, but no name at Kaggle."""
FILES = {"saved_model.pb": b"graph" * 1000, "variables/variables.index": b"index"}
BUCKET, PREFIX = bucket_and_name(PUBLIC_BUCKET)
GONE, REFUSED, AWAY = ModelNotFound("nothing there"), AccessDenied("refused"), Unavailable("away")
SHUT, UNTOLD = Shut("nobody gets in"), Untold("it has no known name")


@pytest.mark.parametrize(
    ("kind", "form", "of", "ways"),
    [
        (Kind.MODEL, None, Way, [Way.BUCKET, Way.HUB, Way.KAGGLE]),
        (Kind.MODEL, Form.UNCOMPRESSED, Way, [Way.BUCKET, Way.HUB, Way.KAGGLE]),
        (Kind.MODEL, Form.COMPRESSED, Way, [Way.HUB, Way.KAGGLE]),
        (Kind.LITE, None, Way, [Way.HUB, Way.KAGGLE]),
        (Kind.TFJS, None, Way, [Way.HUB, Way.KAGGLE]),
        (Kind.MODEL, None, {Way.HUB}, [Way.HUB]),
        (Kind.MODEL, None, {Way.KAGGLE, Way.BUCKET}, [Way.BUCKET, Way.KAGGLE]),
    ],
)
def test_the_order_of_the_ways(kind: Kind, form: Form | None, of: Collection[Way], ways: list[Way]) -> None:
    assert ways_to(kind, form, of) == ways


ALL = [*Way]


def test_the_next_way_is_the_first_that_has_not_failed() -> None:
    assert next_step(ALL, {}) is Way.BUCKET
    assert next_step(ALL, {Way.BUCKET: GONE}) is Way.HUB
    assert next_step(ALL, {Way.BUCKET: GONE, Way.HUB: AWAY}) is Way.KAGGLE
    assert next_step([Way.HUB], {Way.HUB: REFUSED}) is REFUSED  # of a hub with one way, the error is its own


@pytest.mark.parametrize(
    ("bucket", "hub", "kaggle", "kind"),
    [
        (GONE, GONE, GONE, ModelNotFound),
        (GONE, GONE, UNTOLD, ModelNotFound),
        # What could not say leaves it open.
        (REFUSED, GONE, GONE, AccessDenied),
        (GONE, TimedOut("slow"), GONE, TimedOut),
        (AWAY, REFUSED, GONE, Unavailable),
        (GONE, GONE, Busy("429"), Busy),
        (GONE, Damaged("junk"), UNTOLD, Damaged),
        # What lets nobody in says nothing of a model: the others decide,
        (SHUT, GONE, GONE, ModelNotFound),
        (SHUT, GONE, UNTOLD, ModelNotFound),
        (SHUT, SHUT, GONE, ModelNotFound),
        (SHUT, AWAY, GONE, Unavailable),
        # unless none of them says anything either.
        (SHUT, SHUT, UNTOLD, Shut),
        (SHUT, SHUT, SHUT, Shut),
        (UNTOLD, UNTOLD, UNTOLD, ModelNotFound),
    ],
)
def test_a_model_is_not_found_if_all_ways_say_so_that_say_anything(
    bucket: HubfsError, hub: HubfsError, kaggle: HubfsError, kind: type[HubfsError]
) -> None:
    error = next_step(ALL, {Way.BUCKET: bucket, Way.HUB: hub, Way.KAGGLE: kaggle})
    assert type(error) is kind
    assert str(error) == f"the public bucket: {bucket}; the hub's redirect: {hub}; Kaggle: {kaggle}"


@pytest.mark.parametrize(
    ("error", "rests"),
    [(SHUT, True), (AWAY, True), (Busy("429"), True), (TimedOut("slow"), True)]
    + [(error, False) for error in (GONE, REFUSED, UNTOLD, Permanent("400"), Damaged("junk"))],
)
def test_a_way_rests_after_what_the_next_model_would_meet_too(error: HubfsError, *, rests: bool) -> None:
    assert rests_after(error) is rests


class TestTried:
    @pytest.fixture
    def clock(self) -> Clock:
        return Clock()

    @pytest.fixture
    def tried(self, clock: Clock) -> Tried:
        return Tried(clock, lambda: 1e9)

    def test_a_way_that_failed_rests_for_a_while_and_its_answer_stays_what_it_was(
        self, tried: Tried, clock: Clock
    ) -> None:
        tried.failed(Way.BUCKET, SHUT)
        ((way, error),) = tried.resting(ALL).items()
        assert (way, type(error)) == (Way.BUCKET, Shut)
        assert str(SHUT) in str(error)
        clock.now_s += REST_S
        assert not tried.resting(ALL)

    def test_any_answer_ends_a_rest(self, tried: Tried) -> None:
        for end in (lambda: tried.answered(Way.HUB, "google/spice/2"), lambda: tried.failed(Way.HUB, GONE)):
            tried.failed(Way.HUB, AWAY)
            assert [*tried.resting(ALL)] == [Way.HUB]
            end()
            assert not tried.resting(ALL)

    def test_of_ways_that_all_rest_the_one_is_asked_that_has_rested_longest(self, tried: Tried, clock: Clock) -> None:
        for way in (Way.HUB, Way.KAGGLE, Way.BUCKET):
            tried.failed(way, AWAY)
            clock.now_s += 1
        assert set(tried.resting(ALL)) == {Way.BUCKET, Way.KAGGLE}
        assert not tried.resting([Way.HUB])

    def test_it_tells_of_the_ways_in_their_order(self, tried: Tried) -> None:
        tried.failed(Way.BUCKET, SHUT)
        tried.answered(Way.KAGGLE, "google/spice/2")
        assert tried.told({Way.BUCKET: "gs://b", Way.HUB: "https://h", Way.KAGGLE: "https://k"}) == [
            WayTold("the public bucket", "gs://b", rests=str(SHUT)),
            WayTold("the hub's redirect", "https://h"),
            WayTold("Kaggle", "https://k", answered="google/spice/2", answered_at_s=1e9),
        ]


class World:
    """https://tfhub.dev as far as tests can have it: the bucket has `SPICE`, the hub's host `NNLM` as an archive, and
    Kaggle, which lists two models a page, what tests put there.
    """

    def __init__(self, hub: TfHub, store: GcsServer, kaggle: KaggleStandIn, tools: Workshop, clock: Clock) -> None:
        self.hub, self.store, self.kaggle, self.tools, self.clock = hub, store, kaggle, tools, clock

    def forms(self, *models: ModelId) -> list[Form]:
        return [self.hub.open(model, self.tools.kit).form for model in models]

    def upload(self, model: ModelId, files: Mapping[str, bytes]) -> None:
        for path, data in files.items():
            self.store.upload(BUCKET, f"{PREFIX}/{model}/uncompressed/{path}", data)

    def again(self, source: Source) -> Source:
        """The model out of the cache, as after another mount."""
        kept = self.tools.indexes.load(f"{self.hub.label}/{source.handle}")
        assert kept is not None
        return self.hub.load(source.handle, kept, self.tools.kit)

    def rests(self) -> list[str]:
        return [way.name for way in self.hub.ways() if way.rests is not None]


@pytest.fixture
def world(tmp_path: Path, small: Path) -> Iterator[World]:
    clock = Clock()
    with (
        workshop(tmp_path / "cache") as tools,
        nginx_hub(tmp_path / "nginx", versions=2) as nginx,
        gcs_server() as store,
        KaggleStandIn(page_sizes=2) as kaggle,
        http_client(tools.cancellation) as http,
    ):
        store.create_bucket(BUCKET)
        nginx.host_archive(str(NNLM), pack(small, tmp_path / "model.tar.gz"))
        with gcs_client(store.url, tools.cancellation, timeout_s=10) as gcs:
            third = make_hub("kaggle:", Means(http, gcs, endpoints={"kaggle": kaggle.url}))
            hub = TfHub(
                "https://tfhub.dev",
                Means(http, gcs),
                endpoint_url=nginx.url,
                bucket_url=PUBLIC_BUCKET,
                kaggle=third,
                timer=clock,
            )
            made = World(hub, store, kaggle, tools, clock)
            made.upload(SPICE, files(small))
            yield made


def test_the_bucket_answers_without_the_others_and_the_hub_for_what_the_bucket_lacks(world: World) -> None:
    assert world.forms(SPICE, NNLM) == [Form.UNCOMPRESSED, Form.COMPRESSED]
    assert not world.kaggle.calls


def test_what_the_bucket_answered_is_read_again_without_asking(world: World) -> None:
    source = world.hub.open(SPICE, world.tools.kit)
    world.store.reset()
    again = world.again(source)
    assert again.entries() == source.entries()
    assert again.model == source.model
    assert not world.store.requests


def test_a_model_with_a_known_name_at_kaggle_is_read_there_without_a_listing(world: World) -> None:
    world.kaggle.put("google/yamnet/tensorFlow2/yamnet/1", FILES)
    source = world.hub.open(YAMNET, world.tools.kit)
    assert contents(source) == FILES
    assert (source.handle, source.url) == (YAMNET, "https://www.kaggle.com/models/google/yamnet/tensorFlow2/yamnet")
    assert source.model.startswith(f"{world.hub.label}/{YAMNET}@")
    assert not world.kaggle.calls["ListModels"]


def test_what_kaggle_answered_is_read_again_without_asking(world: World) -> None:
    world.kaggle.put("google/yamnet/tensorFlow2/yamnet/1", FILES)
    source = world.hub.open(YAMNET, world.tools.kit)
    assert contents(source) == FILES
    world.kaggle.reset_counts()
    again = world.again(source)
    assert contents(again) == FILES
    assert (again.handle, again.model, again.url) == (source.handle, source.model, source.url)
    assert not world.kaggle.calls


def test_an_index_that_another_hub_wrote_is_none(world: World) -> None:
    world.kaggle.put("google/yamnet/tensorFlow2/yamnet/1", FILES)
    source = world.hub.open(YAMNET, world.tools.kit)
    kept = world.tools.kept(source.model)
    for changed in ({"at": "kaggle:somebody"}, {"handle": "google/yamnet/cobol/yamnet/1"}):
        with pytest.raises(ValueError, match=r"is of|no handle"):
            world.hub.load(YAMNET, {**kept, **changed}, world.tools.kit)


def test_a_model_without_a_known_name_is_found_by_what_kaggle_lists_of_its_owner(world: World) -> None:
    for name in ("euphonia-spice/tensorFlow2/classification/1", "spice/tensorFlow2/other/1", "a/keras/b/1"):
        world.kaggle.put(f"google/{name}", {"saved_model.pb": name.encode()})
    source = world.hub.open(EUPHONIA, world.tools.kit)
    assert contents(source) == {"saved_model.pb": b"euphonia-spice/tensorFlow2/classification/1"}
    assert contents(world.again(source)) == contents(source)
    world.hub.open(EUPHONIA, world.tools.kit)
    assert world.kaggle.calls["ListModels"] == 2, "two pages, once"


@pytest.mark.parametrize("name", ["google/lite-model/spice", "google/coral-model/spice"])
def test_the_file_of_a_tf_lite_model_has_its_name(world: World, name: str) -> None:
    framework = "tfLite" if "lite" in name else "coral"
    world.kaggle.put(f"google/spice/{framework}/spice/1", {"1.tflite": b"\0\0\0\0TFL3", "labels.txt": b"a"})
    source = world.hub.open(ModelId(name, "1"), world.tools.kit)
    assert contents(source) == {"model.tflite": b"\0\0\0\0TFL3", "labels.txt": b"a"}
    assert contents(world.again(source)) == contents(source)


def test_a_model_of_many_small_files_comes_as_the_archive_of_kaggle(world: World) -> None:
    many = {f"group1-shard{number}of40": b"%d" % number for number in range(40)} | {"model.json": b"{}"}
    world.kaggle.put("google/mobilenet-v3/tfJs/large-075-224-classification/1", many)
    name = "google/tfjs-model/imagenet/mobilenet_v3_large_075_224/classification/5/default"
    source = world.hub.open(ModelId(name, "1"), world.tools.kit)
    assert (source.form, contents(source)) == (Form.COMPRESSED, many)
    assert source.model.startswith(f"{world.hub.label}/{name}/1@")
    eventually(lambda: world.tools.indexes.of(source.model))
    world.kaggle.reset_counts()
    again = world.again(source)
    assert (again.model, contents(again)) == (source.model, many)
    assert not world.kaggle.calls
    world.tools.cache.drop(source.model)
    assert contents(again) == many, "the archive is asked for again"


def test_of_several_tf_lite_files_none_is_renamed(world: World) -> None:
    both = {"a.tflite": b"a", "b.tflite": b"b"}
    world.kaggle.put("google/spice/tfLite/spice/1", both)
    assert contents(world.hub.open(ModelId("google/lite-model/spice", "1"), world.tools.kit)) == both


def test_a_model_that_no_way_has_is_not_found_and_all_are_named(world: World) -> None:
    with pytest.raises(
        ModelNotFound,
        match=r"the public bucket: .*nothing is stored.*; the hub's redirect: .*; Kaggle: Kaggle lists no model of goo",
    ):
        world.forms(ABSENT)


def test_latest_and_versions_are_those_of_the_first_way_that_has_any(world: World) -> None:
    for version in ("1", "2"):
        world.kaggle.put(f"google/yamnet/tensorFlow2/yamnet/{version}", FILES)
    world.upload(ModelId("google/spice", "10"), FILES)
    assert [*world.hub.versions("google/spice")] == ["2", "10"]
    assert world.hub.alias("google/spice") == "10"
    assert [*world.hub.versions("google/nnlm")] == ["1"]
    assert [*world.hub.versions("google/yamnet")] == ["1"]  # the handle of Kaggle's second version nobody ever knew
    assert world.hub.alias("google/yamnet") == "1"
    assert [*world.hub.versions("google/absent")] == []
    with pytest.raises(ModelNotFound, match=r"public bucket: .*Kaggle: no version of google/absent"):
        world.hub.alias("google/absent")


def test_versions_at_kaggle_are_told_by_their_rank(world: World) -> None:
    # The catalogue has version 1 for TF 1, without a name at Kaggle, and version 2 for TF 2.
    world.kaggle.put("google/wiki-words/tensorFlow2/250/1", {"saved_model.pb": b"2"})
    assert [*world.hub.versions("google/Wiki-words-250")] == ["2"]
    world.kaggle.put("google/wiki-words/tensorFlow1/250/1", {"saved_model.pb": b"1"})
    world.clock.now_s += 3600
    world.kaggle.put("google/wiki-words/tensorFlow2/250/2", FILES)  # which never had a handle
    assert [*world.hub.versions("google/Wiki-words-250")] == ["1", "2"]
    assert world.hub.alias("google/Wiki-words-250") == "2"
    assert contents(world.hub.open(ModelId("google/Wiki-words-250", "1"), world.tools.kit)) == {"saved_model.pb": b"1"}


def test_a_bucket_that_lets_nobody_in_rests_and_the_others_decide(world: World) -> None:
    world.store.spoil(Fault(status=403), Fault(status=403))
    assert world.forms(NNLM) == [Form.COMPRESSED]
    assert world.rests() == ["the public bucket"]
    world.store.reset()
    with pytest.raises(ModelNotFound):
        world.forms(SPICE)
    assert not world.store.requests
    world.clock.now_s += REST_S
    assert world.forms(SPICE) == [Form.UNCOMPRESSED]
    assert not world.rests()


def test_a_bucket_that_refuses_one_model_may_have_it(world: World) -> None:
    world.store.spoil(Fault(status=403))  # and not what is there
    with pytest.raises(AccessDenied, match="the public bucket: "):
        world.forms(ABSENT)
    assert not world.rests()


def test_a_bucket_that_does_not_answer_may_have_it(world: World) -> None:
    world.store.spoil(*[Fault(status=503)] * QUICK.attempts)
    with pytest.raises(Unavailable, match="the public bucket: "):
        world.forms(ABSENT)
    assert world.rests() == ["the public bucket"]
    world.store.reset()
    with pytest.raises(Unavailable, match="asked again after"):
        world.forms(ABSENT)
    assert not world.store.requests


class TestAWayThatGoesAwayInMidUse:
    FILES: ClassVar = {"saved_model.pb": b"graph" * 1000, "variables/variables.data": bytes(3 << 20)}

    def read(self, source: Source, path: str) -> bytes:
        return source.open(source.find(path)).read_at(0, 10)

    def opened(self, world: World, *, at_kaggle: bool) -> Source:
        """The model of the bucket, of which one file was read; then the bucket goes away."""
        world.upload(YAMNET, self.FILES)
        if at_kaggle:
            world.kaggle.put("google/yamnet/tensorFlow2/yamnet/1", self.FILES)
        source = world.hub.open(YAMNET, world.tools.kit)
        assert source.form is Form.UNCOMPRESSED
        assert self.read(source, "saved_model.pb") == b"graphgraph"
        return source

    def test_a_reader_is_told_to_open_again_and_finds_it_by_another_way(self, world: World) -> None:
        source = self.opened(world, at_kaggle=True)
        world.store.spoil(*[Fault(status=403)] * 100)
        with pytest.raises(Stale, match="the model is read by Kaggle from now on"):
            self.read(source, "variables/variables.data")
        assert source.failure is not None
        assert world.rests() == ["the public bucket"]
        again = world.again(source)
        assert again.url.startswith("https://www.kaggle.com/")
        assert contents(again) == self.FILES

    def test_where_no_other_way_has_it_what_is_cached_stays(self, world: World) -> None:
        source = self.opened(world, at_kaggle=False)
        world.store.spoil(*[Fault(status=403)] * 100)
        for _ in range(2):
            with pytest.raises(AccessDenied):
                self.read(source, "variables/variables.data")
        assert world.kaggle.calls["ListModelInstanceVersionFiles"] == 1, "the others are asked once a minute"
        assert source.failure is None
        assert self.read(source, "saved_model.pb") == b"graphgraph"
        world.store.reset()
        assert self.read(source, "variables/variables.data") == bytes(10)

    def test_a_way_that_still_answers_is_not_left(self, world: World) -> None:
        source = self.opened(world, at_kaggle=True)
        world.store.spoil(Fault(status=403))
        with pytest.raises(AccessDenied):
            self.read(source, "variables/variables.data")
        assert self.read(source, "variables/variables.data") == bytes(10)
        assert not world.kaggle.calls


def test_kaggle_that_lists_nothing_does_not_rest(world: World) -> None:
    world.kaggle.put("google/yamnet/tensorFlow2/yamnet/1", FILES)
    world.kaggle.script("ListModels", instead(refusal(403, "Sign in")))
    with pytest.raises(ModelNotFound, match="Kaggle refuses to list google"):
        world.forms(ABSENT)
    assert world.forms(YAMNET) == [Form.FILES]


def test_all_that_the_catalogue_knows_is_named_without_a_question() -> None:
    cancellation = Cancellation()
    with gcs_client() as gcs, http_client(cancellation) as http:
        kaggle = make_hub("kaggle:", Means(http, gcs, endpoints={"kaggle": "http://127.0.0.1:9"}))
        there = AtKaggle(kaggle, "tfhub.dev", bundled_catalogue, cancellation)
        known = {entry.handle: entry.kaggle.name for entry in bundled_catalogue().entries if entry.kaggle is not None}
        assert {handle: str(there.named(parse_handle(handle))) for handle in known} == known
        assert len(known) == 941
        assert http.stats().requests == 0


def test_the_public_hub_alone_has_several_ways(world: World) -> None:
    with http_client(world.tools.cancellation) as http:
        means = Means(http, GcsClient(GcsSettings(), world.tools.cancellation))
        hubs = {url: make_hub(url, means) for url in ("https://tfhub.dev", "https://hub.example")}
    assert {url: [check.subject for check in hub.checks()] for url, hub in hubs.items()} == {
        "https://tfhub.dev": ["hub", "public bucket", "bucket", "Kaggle"],
        "https://hub.example": ["hub", "bucket"],
    }
    assert [(way.name, way.url) for way in hubs["https://tfhub.dev"].ways()] == [
        ("the public bucket", PUBLIC_BUCKET),
        ("the hub's redirect", "https://tfhub.dev"),
        ("Kaggle", "https://api.kaggle.com"),
    ]
    assert not hubs["https://hub.example"].ways()
