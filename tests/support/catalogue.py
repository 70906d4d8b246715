"""Handles as a public hub has them, of every kind, and a hub that has just their models."""

import gzip
import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from hubfs.hubs.tfhub.bundled import bundled_catalogue
from hubfs.hubs.tfhub.names.catalogue import CatalogKind
from tests.support.archives import tar_of
from tests.support.hosted import manifest
from tests.support.http_origin import Answer, HttpOrigin, Request, Resource

_PUBLISHERS = ("acme", "deep-sound", "google", "mediapipe", "noise-lab", "tensorflow", "vision-42")
_FAMILIES = (
    "bert_en_uncased_L-12_H-768_A-12",
    "efficientnet_v2",
    "inception_v3.1",
    "spice",
    "Wiki-words-250",
    "yamnet",
)
_TASKS = ("classification", "feature-vector", "quantized", "fine_tuned", "metadata")

SAVED_MODEL = {"saved_model.pb": b"graph " * 100, "variables/variables.index": b"index"}
TFJS_MODEL = {"model.json": manifest()}
TFLITE = b"\x1c\0\0\0TFL3" + bytes(500)

FILES = {"Module": SAVED_MODEL, "Tfjs": TFJS_MODEL, "Lite": {"model.tflite": TFLITE}, "Coral": {"model.tflite": TFLITE}}
"""What a model of each kind has."""


@dataclass(frozen=True)
class Handles:
    """`models` by handle: their kinds. There is nothing behind `placeholders`. `collections`: their models."""

    models: dict[str, str]
    placeholders: list[str]
    collections: dict[str, list[str]]

    def to_json_lines(self) -> str:
        """The catalogue file that has all of them."""
        entries: list[dict[str, object]] = [{"kind": kind, "handle": handle} for handle, kind in self.models.items()]
        entries += [{"kind": "Placeholder", "handle": handle} for handle in self.placeholders]
        entries += [
            {"kind": "Collection", "handle": handle, "members": members} for handle, members in self.collections.items()
        ]
        return "".join(f"{json.dumps(entry)}\n" for entry in entries)


def made_up_handles(count: int = 300, seed: int = 7) -> Handles:
    """So many models and more: versions that begin anywhere, names within names, numbers inside of typed names."""
    choose = random.Random(seed)
    models: dict[str, str] = {}
    while len(models) < count:
        publisher, family, task = choose.choice(_PUBLISHERS), choose.choice(_FAMILIES), choose.choice(_TASKS)
        names = {
            "Module": choose.choice((family, f"{family}/{task}")),
            "Lite": f"lite-model/{family}/{choose.randint(1, 3)}/{task}",
            "Tfjs": f"tfjs-model/{family}/{choose.randint(1, 3)}/default",
            "Coral": f"coral-model/{family}/{task}",
        }
        kind = choose.choice(("Module", "Module", "Module", "Lite", "Tfjs", "Coral"))
        first = choose.choice((1, 1, 1, 2, 5))
        for version in range(first, first + choose.randint(1, 3)):
            models[f"{publisher}/{names[kind]}/{version}"] = kind
    modules = [handle for handle, kind in models.items() if kind == "Module"]
    return Handles(
        models,
        [f"{publisher}/{family}-pages/1" for publisher in _PUBLISHERS for family in _FAMILIES],
        {
            f"{publisher}/collection/{family}": choose.sample(modules, 4)
            for publisher in _PUBLISHERS
            for family in _FAMILIES
        },
    )


def public_handles() -> Handles:
    """Those of the public catalogue that comes with hubfs."""
    entries = bundled_catalogue().entries
    return Handles(
        {entry.handle: entry.kind.value for entry in entries if entry.kind.value in FILES},
        [entry.handle for entry in entries if entry.kind is CatalogKind.PLACEHOLDER],
        {entry.handle: [*entry.members] for entry in entries if entry.kind is CatalogKind.COLLECTION},
    )


@dataclass(frozen=True)
class HandlesHub:
    """A running hub."""

    origin: HttpOrigin

    @property
    def url(self) -> str:
        return self.origin.url

    def asked_for(self) -> list[str]:
        """The paths of all requests so far, but those for the hub's own catalogue, which it does not have."""
        return [request.path.removeprefix("/") for request in self.origin.requests if request.path != "/catalog.jsonl"]


@contextmanager
def handles_hub(handles: Handles) -> Iterator[HandlesHub]:
    """A hub that has the models of `handles`, whole, and nothing else; models of a kind are all the same."""
    hosted = {
        "Module": ("tf-hub-format=compressed", Resource(gzip.compress(tar_of(SAVED_MODEL), mtime=0), etag='"1"')),
        "Tfjs": ("tfjs-format=compressed", Resource(gzip.compress(tar_of(TFJS_MODEL), mtime=0), etag='"1"')),
        **dict.fromkeys(("Lite", "Coral"), ("lite-format=tflite", Resource(TFLITE, etag='"1"'))),
    }

    def answer(request: Request) -> Answer:
        kind = handles.models.get(request.path.removeprefix("/"))
        query, resource = hosted[kind] if kind else ("", None)
        return resource(request) if resource is not None and request.query == query else Answer(404)

    with HttpOrigin() as origin:
        origin.route("/*", answer)
        yield HandlesHub(origin)
