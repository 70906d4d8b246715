"""By which way a model of tfhub.dev as it is today is found: with a real bucket, and a hub on HTTP."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hubfs.blobs.gcs.client import GcsClient, GcsSettings
from hubfs.catalogue.handle import Kind
from hubfs.errors import AccessDenied, HubfsError, ModelNotFound, TimedOut, Unavailable
from hubfs.hubs.hub import Means, make_hub
from hubfs.hubs.tfhub.hub import TfHub
from hubfs.hubs.tfhub.ways import REST_S, Way, next_step, ways_to
from hubfs.model_id import ModelId
from hubfs.sources.source import Form
from hubfs.testing import Clock
from tests.support.gcs_server import Fault, GcsServer, gcs_server
from tests.support.http_clients import QUICK, http_client
from tests.support.kits import Workshop, workshop
from tests.support.models import pack
from tests.support.nginx import nginx_hub

SPICE, NNLM, ABSENT = ModelId("google/spice", "2"), ModelId("google/nnlm", "1"), ModelId("google/absent", "1")
GONE, SHUT = ModelNotFound("nothing there"), AccessDenied("refused")


@pytest.mark.parametrize(
    ("kind", "form", "bucket", "ways"),
    [
        (Kind.MODEL, None, True, (Way.BUCKET, Way.HUB)),
        (Kind.MODEL, Form.UNCOMPRESSED, True, (Way.BUCKET, Way.HUB)),
        (Kind.MODEL, Form.COMPRESSED, True, (Way.HUB,)),
        (Kind.MODEL, None, False, (Way.HUB,)),
        (Kind.LITE, None, True, (Way.HUB,)),
        (Kind.TFJS, None, True, (Way.HUB,)),
    ],
)
def test_the_order_of_the_ways(kind: Kind, form: Form | None, *, bucket: bool, ways: tuple[Way, ...]) -> None:
    assert ways_to(kind, form, bucket=bucket) == ways


BOTH = (Way.BUCKET, Way.HUB)


def test_the_next_way_is_the_first_that_has_not_failed() -> None:
    assert next_step(BOTH, {}) is Way.BUCKET
    assert next_step(BOTH, {Way.BUCKET: GONE}) is Way.HUB
    assert next_step((Way.HUB,), {Way.HUB: SHUT}) is SHUT  # of a hub with one way, the error is its own


@pytest.mark.parametrize(
    ("bucket", "hub", "kind"),
    [
        (GONE, GONE, ModelNotFound),
        (SHUT, GONE, AccessDenied),
        (GONE, TimedOut("slow"), TimedOut),
        (Unavailable("away"), SHUT, Unavailable),
    ],
)
def test_a_model_is_not_found_only_if_every_way_says_so(
    bucket: HubfsError, hub: HubfsError, kind: type[HubfsError]
) -> None:
    error = next_step(BOTH, {Way.BUCKET: bucket, Way.HUB: hub})
    assert type(error) is kind
    assert str(error) == f"the public bucket: {bucket}; the hub's redirect: {hub}"


class World:
    """A hub that has `NNLM` as an archive, a bucket that has `SPICE`, and both of `TWICE`."""

    def __init__(self, hub: TfHub, store: GcsServer, tools: Workshop, clock: Clock) -> None:
        self.hub, self.store, self.tools, self.clock = hub, store, tools, clock

    def forms(self, *models: ModelId) -> list[Form]:
        return [self.hub.open(model, self.tools.kit).form for model in models]


@contextmanager
def world(tmp_path: Path, files: Path, bucket_url: str) -> Iterator[World]:
    clock = Clock()
    with (
        workshop(tmp_path / "cache") as tools,
        nginx_hub(tmp_path / "nginx", versions=2) as nginx,
        gcs_server() as store,
        http_client(tools.cancellation) as http,
    ):
        store.create_bucket("public")
        for path in files.rglob("*"):
            if path.is_file():
                name = path.relative_to(files).as_posix()
                store.upload("public", f"tfhub-modules/{SPICE}/uncompressed/{name}", path.read_bytes())
        nginx.host_archive(str(NNLM), pack(files, tmp_path / "model.tar.gz"))
        gcs = GcsClient(GcsSettings(endpoint_url=store.url, timeout_s=10, retry=QUICK), tools.cancellation)
        try:
            hub = TfHub(nginx.url, http=http, gcs=gcs, bucket_url=bucket_url, timer=clock)
            yield World(hub, store, tools, clock)
        finally:
            gcs.close()


@pytest.fixture
def both(tmp_path: Path, small: Path) -> Iterator[World]:
    with world(tmp_path, small, "gs://public/tfhub-modules") as made:
        yield made


def test_the_bucket_answers_without_the_hub_and_the_hub_for_what_the_bucket_lacks(both: World) -> None:
    assert both.forms(SPICE, NNLM) == [Form.UNCOMPRESSED, Form.COMPRESSED]


def test_what_the_bucket_answered_is_read_again_without_asking(both: World) -> None:
    source = both.hub.open(SPICE, both.tools.kit)
    kept = both.tools.indexes.load(f"{both.hub.label}/{SPICE}")
    assert kept is not None
    both.store.reset()
    again = both.hub.load(SPICE, kept, both.tools.kit)
    assert again.entries() == source.entries()
    assert again.model == source.model
    assert not both.store.requests


def test_a_model_that_neither_has_is_not_found_and_both_are_named(both: World) -> None:
    with pytest.raises(ModelNotFound, match=r"the public bucket: .*nothing is stored.*; the hub's redirect: "):
        both.forms(ABSENT)


def test_a_bucket_that_refuses_rests_and_is_asked_again(both: World) -> None:
    both.store.spoil(Fault(status=403))
    assert both.forms(NNLM) == [Form.COMPRESSED]
    both.store.reset()
    with pytest.raises(HubfsError) as caught:  # the bucket may have it
        both.forms(SPICE)
    assert not isinstance(caught.value, ModelNotFound)
    assert not both.store.requests
    both.clock.now_s += REST_S + 1
    assert both.forms(SPICE) == [Form.UNCOMPRESSED]


def test_the_public_hub_alone_has_the_bucket(both: World) -> None:
    with http_client(both.tools.cancellation) as http:
        means = Means(http, GcsClient(GcsSettings(), both.tools.cancellation))
        subjects = {
            url: [check.subject for check in make_hub(url, means).checks()]
            for url in ("https://tfhub.dev", "https://hub.example")
        }
    assert subjects == {
        "https://tfhub.dev": ["hub", "public bucket", "bucket"],
        "https://hub.example": ["hub", "bucket"],
    }
