"""The models of https://tfhub.dev at Kaggle, under the names that they have there."""

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cached_property

from hubfs.cache.disk.indexes import Index
from hubfs.errors import AccessDenied, InvalidHandle, ModelNotFound
from hubfs.hubs.hub import Hub
from hubfs.hubs.tfhub.names.catalogue import Catalog
from hubfs.hubs.tfhub.names.handle import Kind, kind_of, version_age
from hubfs.hubs.tfhub.questions import LITE_FILE
from hubfs.hubs.tfhub.rank import FIRST, Rules, match
from hubfs.hubs.tfhub.ways import REST_S, Untold
from hubfs.model_id import ModelId
from hubfs.sources.files import Manifest
from hubfs.sources.kit import Guest, Kit
from hubfs.sources.source import Source
from hubfs.waiting import Cancellation, Remembered

_LITE_ENDING = ".tflite"

_OWNERS_KEPT = 100
_LISTED_S = 600.0
_LISTING_TIMEOUT_S = 300.0
"""What Kaggle lists of an owner holds for so long; who waits for another's question waits no longer than that."""


class AtKaggle:
    """The models of the hub `label` (its name in the cache) at the hub `kaggle`; `catalog` is the one of `label`.

    Methods that ask raise `ModelNotFound`, `Untold` where nothing tells the name at Kaggle, and what `Hub` says.
    """

    def __init__(
        self,
        kaggle: Hub,
        label: str,
        catalog: Callable[[], Catalog],
        cancellation: Cancellation,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self.url = kaggle.host
        self._kaggle = kaggle
        self._label = label
        self._catalog = catalog
        self._listed: Remembered[str, Sequence[str]] = Remembered(
            cancellation,
            ttl_s=_LISTED_S,
            timeout_s=_LISTING_TIMEOUT_S,
            most=_OWNERS_KEPT,
            errors_s={Untold: REST_S},
            timer=timer,
        )

    def named(self, model: ModelId) -> ModelId:
        """What Kaggle calls a model: by the catalogue, which asks nobody; else by what Kaggle lists of its owner.

        Raises `ModelNotFound`.
        """
        known = self._catalog().entry(str(model))
        if known is not None and known.kaggle is not None:
            return self._kaggle.names.parse(known.kaggle.name)
        wanted = self._rules.wanted(model)
        return match(wanted, [name for owner in wanted.owners for name in self._names_of(owner)])

    def open(self, model: ModelId, kit: Kit) -> Source:
        """The model as Kaggle has it now."""
        return self._kaggle.open(self.named(model), self._kit(model, kit))

    def load(self, model: ModelId, kept: Index, kit: Kit) -> Source:
        """The model as the cache has kept it; `kept["at"]` is the hub. Raises as `Hub.load`."""
        if kept["at"] != self._kaggle.url:
            raise ValueError(f"it is of {kept['at']!r}")
        try:
            there = self._kaggle.names.parse(kept["handle"])
        except InvalidHandle as error:
            raise ValueError(str(error)) from error
        return self._kaggle.load(there, kept, self._kit(model, kit))

    def example(self) -> str:
        """Asks for a model that Kaggle has; what came of it, for people."""
        return next(iter(self._kaggle.checks())).ask()

    def latest(self, name: str) -> str:
        """The highest of `versions`."""
        return self.versions(name)[-1]

    def versions(self, name: str) -> Sequence[str]:
        """The versions of a name that Kaggle has, ascending, of those that the catalogue has.

        Raises `ModelNotFound` where there is none.
        """
        there: defaultdict[str, dict[str, str]] = defaultdict(dict)
        for version in self._catalog().versions(name) or [FIRST]:
            with suppress(ModelNotFound):
                model = self.named(ModelId(name, version))
                there[model.name][model.version] = version
        found = [of[number] for named, of in there.items() for number in self._kaggle.versions(named) if number in of]
        if not found:
            raise ModelNotFound(f"no version of {name} is known to be at {self._kaggle.url}{' or '.join(there)}")
        return sorted(found, key=version_age)

    @cached_property
    def _rules(self) -> Rules:
        return Rules(self._catalog())

    def _names_of(self, owner: str) -> Sequence[str]:
        def ask() -> Sequence[str]:
            try:
                return self._kaggle.below(owner)
            except AccessDenied as refused:
                raise Untold(f"Kaggle refuses to list {owner}: {refused}") from refused

        return self._listed.get(owner, ask)

    def _kit(self, model: ModelId, kit: Kit) -> Kit:
        if kind_of(model.name) in (Kind.LITE, Kind.CORAL):
            kit = kit.showing(_as_lite)
        return kit.for_guest(Guest(self._label, model, self._kaggle.url))


def _as_lite(manifest: Manifest) -> Manifest:
    """The only TF Lite file has the name that it has at every hub: at Kaggle it is `1.tflite`, say."""
    found = [path for path in manifest.files if path.endswith(_LITE_ENDING)]
    if len(found) != 1 or LITE_FILE in manifest.files:
        return manifest
    files = {LITE_FILE if path == found[0] else path: file for path, file in manifest.files.items()}
    return replace(manifest, files=files)
