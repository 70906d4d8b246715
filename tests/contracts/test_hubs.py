import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from hubfs.blobs.http.client import HttpClient
from hubfs.hubs import registry
from hubfs.hubs.about import About
from hubfs.hubs.hub import Hub, Means, make_hub
from hubfs.hubs.place import Alias, Place
from hubfs.hubs.tfhub.ways import PUBLIC_BUCKET
from hubfs.model_id import ModelId
from tests.contracts.hub_contract import HubContract, Requests, Served
from tests.support.gcs_server import GcsServer, gcs_server
from tests.support.http_clients import gcs_client, http_client
from tests.support.huggingface import HuggingFaceStandIn
from tests.support.kaggle import KaggleStandIn
from tests.support.kits import Workshop
from tests.support.models import pack
from tests.support.nginx import nginx_hub
from tests.support.serving import serving as hub_host


def write(root: Path, models: Mapping[ModelId, Mapping[str, bytes]]) -> None:
    for model, files in models.items():
        for path, data in files.items():
            (root / str(model) / path).parent.mkdir(parents=True, exist_ok=True)
            (root / str(model) / path).write_bytes(data)


@contextmanager
def made(
    url: str,
    tools: Workshop,
    store_url: str = "http://127.0.0.1:9",
    kaggle_url: str = "http://127.0.0.1:9",
    kaggle_dialect: str = "rpc",
    tfhub_url: str = "http://127.0.0.1:9",
    huggingface_url: str = "http://127.0.0.1:9",
) -> Iterator[tuple[Hub, HttpClient]]:
    environ = {"HUBFS_KAGGLE_DIALECT": kaggle_dialect}
    endpoints = {"kaggle": kaggle_url, "tfhub": tfhub_url, "hf": huggingface_url}
    with gcs_client(store_url, tools.cancellation, timeout_s=10) as gcs, http_client(tools.cancellation) as http:
        yield make_hub(url, Means(http, gcs, endpoints=endpoints, environ=environ)), http


class TestTfHubOnNginx(HubContract):
    """Archives, as the protocol has them on a plain web server, which shows no versions."""

    @contextmanager
    def serving(
        self, tmp_path: Path, models: Mapping[ModelId, Mapping[str, bytes]], tools: Workshop
    ) -> Iterator[Served]:
        write(tmp_path / "models", models)
        with nginx_hub(tmp_path / "nginx", versions=2) as nginx, gcs_server(tmp_path / "store") as store:
            for model in models:
                archive = tmp_path / f"{model.version}.tar.gz"
                nginx.host_archive(str(model), pack(tmp_path / "models" / str(model), archive))
            with made(nginx.url, tools, store.url) as (hub, http):
                yield Served(hub, OfClient(http))


class OfClient(Requests):
    def __init__(self, client: HttpClient) -> None:
        self._client = client

    def count(self) -> int:
        return self._client.stats().requests


class TestTfHubOnHubfsServe(HubContract):
    """The hub host of hubfs itself."""

    @contextmanager
    def serving(
        self, tmp_path: Path, models: Mapping[ModelId, Mapping[str, bytes]], tools: Workshop
    ) -> Iterator[Served]:
        write(tmp_path / "models", models)
        with (
            hub_host(tmp_path / "models") as url,
            gcs_server(tmp_path / "store") as store,
            made(url, tools, store.url) as (hub, http),
        ):
            yield Served(hub, OfClient(http))


class TestBucket(HubContract):
    """A bucket of folders."""

    @contextmanager
    def serving(
        self, tmp_path: Path, models: Mapping[ModelId, Mapping[str, bytes]], tools: Workshop
    ) -> Iterator[Served]:
        write(tmp_path / "store" / "team" / "hub", models)
        with gcs_server(tmp_path / "store") as store, made("gs://team/hub", tools, store.url) as (hub, _):
            yield Served(hub, OfStore(store))


class OfStore(Requests):
    def __init__(self, store: GcsServer) -> None:
        self._store = store

    def count(self) -> int:
        return len(self._store.requests)


class TestBucketOfArchives(TestBucket):
    @contextmanager
    def serving(
        self, tmp_path: Path, models: Mapping[ModelId, Mapping[str, bytes]], tools: Workshop
    ) -> Iterator[Served]:
        hub = tmp_path / "store" / "team" / "hub"
        for model, files in models.items():
            write(tmp_path / "models", {model: files})
            (hub / model.name).mkdir(parents=True, exist_ok=True)
            packed = pack(tmp_path / "models" / str(model), tmp_path / "m.tar.gz")
            shutil.move(packed, hub / f"{model}.tar.gz")
        with gcs_server(tmp_path / "store") as store, made("gs://team/hub", tools, store.url) as (hub_, _):
            yield Served(hub_, OfStore(store))


class TestKaggle(HubContract):
    """Files behind signed URLs, which Kaggle's API leads to."""

    old = ModelId("google/spice/tensorFlow2/spice", "1")
    new = ModelId("google/spice/tensorFlow2/spice", "2")
    missing = ModelId("google/nothing/tensorFlow2/nothing", "1")
    alias_path = "/google/spice/tensorFlow2/spice/latest"
    dialect = "rpc"

    @contextmanager
    def serving(
        self, tmp_path: Path, models: Mapping[ModelId, Mapping[str, bytes]], tools: Workshop
    ) -> Iterator[Served]:
        with KaggleStandIn(page_sizes=2) as kaggle:
            for model, files in models.items():
                kaggle.put(str(model), files)
            with made("kaggle:google", tools, kaggle_url=kaggle.url, kaggle_dialect=self.dialect) as (hub, http):
                yield Served(hub, OfClient(http))


class TestKaggleByRest(TestKaggle):
    dialect = "rest"


class TestHuggingFace(HubContract):
    """Commits of a repository, of which files of LFS are behind signed URLs."""

    old = ModelId("BAAI/bge-m3", "1" * 40)
    new = ModelId("BAAI/bge-m3", "2" * 40)
    missing = ModelId("BAAI/nothing", "1" * 40)
    alias_path = "/BAAI/bge-m3"
    folder_path = "/BAAI"

    @property
    def alias(self) -> Place:
        return Alias("BAAI/bge-m3@main")

    @contextmanager
    def serving(
        self, tmp_path: Path, models: Mapping[ModelId, Mapping[str, bytes]], tools: Workshop
    ) -> Iterator[Served]:
        with HuggingFaceStandIn(page_size=2) as stand_in:
            for model, files in models.items():
                stand_in.put(model.name, files, commit=model.version, lfs=["saved_model.pb"])
            with made("hf:BAAI", tools, huggingface_url=stand_in.url) as (hub, http):
                yield Served(hub, OfClient(http))


class TestTfhubDevAtKaggle(HubContract):
    """https://tfhub.dev, whose host answers, and the public bucket, too, and neither has a model any more."""

    @contextmanager
    def serving(
        self, tmp_path: Path, models: Mapping[ModelId, Mapping[str, bytes]], tools: Workshop
    ) -> Iterator[Served]:
        with tfhub_dev(tmp_path, tools) as (served, kaggle):
            for model, files in models.items():
                kaggle.put(f"google/spice/tensorFlow1/spice/{model.version}", files)
            yield served


class TestTfhubDevInThePublicBucket(HubContract):
    """The same, with all models in the bucket."""

    @contextmanager
    def serving(
        self, tmp_path: Path, models: Mapping[ModelId, Mapping[str, bytes]], tools: Workshop
    ) -> Iterator[Served]:
        folders = {ModelId(str(model), "uncompressed"): files for model, files in models.items()}
        write(tmp_path / "store" / PUBLIC_BUCKET.removeprefix("gs://"), folders)
        with tfhub_dev(tmp_path, tools) as (served, _):
            yield served


@contextmanager
def tfhub_dev(tmp_path: Path, tools: Workshop) -> Iterator[tuple[Served, KaggleStandIn]]:
    (tmp_path / "store" / PUBLIC_BUCKET.removeprefix("gs://")).mkdir(parents=True, exist_ok=True)
    with (
        nginx_hub(tmp_path / "nginx", versions=2) as nginx,
        gcs_server(tmp_path / "store") as store,
        KaggleStandIn(page_sizes=2) as kaggle,
        made("https://tfhub.dev", tools, store.url, tfhub_url=nginx.url, kaggle_url=kaggle.url) as (hub, http),
    ):
        kaggle.put("google/yamnet/tensorFlow2/yamnet/1", {"x": b"y"})
        yield Served(hub, OfAll(OfClient(http), OfStore(store))), kaggle


class OfAll(Requests):
    def __init__(self, *of: Requests) -> None:
        self._of = of

    def count(self) -> int:
        return sum(each.count() for each in self._of)


class TestMadeUpHub(HubContract):
    """A hub of a kind of its own, in one file of the tests: the proof that a hub is one room."""

    old = ModelId("ape", "a")
    new = ModelId("ape", "aab")
    missing = ModelId("yeti", "b")
    alias_path = "/ape/oldest"

    @contextmanager
    def serving(
        self, tmp_path: Path, models: Mapping[ModelId, Mapping[str, bytes]], tools: Workshop
    ) -> Iterator[Served]:
        write(tmp_path / "zoo", models)
        with made_up_kind(), made(f"zoo:{tmp_path / 'zoo'}", tools) as (hub, _):
            yield Served(hub, Requests())


@contextmanager
def made_up_kind() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(registry.HUBS, "zoo", About(["zoo"], "tests.contracts.made_up_hub:make"))
        yield
