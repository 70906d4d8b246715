"""How Kaggle names the models of https://tfhub.dev: rules, for models of which no redirect was seen. No I/O.

Kaggle took over the models in November 2023, and gave them names of its own: google/nnlm-en-dim50/2 is
google/nnlm/tensorFlow2/en-dim50/1. The rules were read off 682 redirects, of which they tell all; the tests count it.
They decide by what Kaggle lists of an owner, and never by what a name might be.

A version is the rank that it has among the versions of its name that have the same framework.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from hubfs.errors import ModelNotFound
from hubfs.hubs.tfhub.names.catalogue import Catalog
from hubfs.hubs.tfhub.names.handle import Kind, is_typed, kind_of
from hubfs.hubs.tfhub.ways import Untold
from hubfs.model_id import ModelId

_OWNERS: Mapping[str, Sequence[str]] = {
    "adityakane2001": ("adityakane",),
    "jeongukjae": ("jeongukjae", "kaggle"),
    "monatis": ("myusufs",),
    "sayakpaul": ("spsayakpaul",),
    "sayannath": ("sayannath235", "kaggle"),
    **dict.fromkeys(
        ("callmemehdi", "captain-pool", "digitalepidemiologylab", "prvi", "shoaib6174", "vasudevgupta7"), ("kaggle",)
    ),
}
"""At Kaggle, a publisher has the same name, but for these."""

_OWNERS_OF_FAMILIES: Mapping[str, Sequence[str]] = {
    "sayakpaul/mobilevit": ("kaggle",),
    "tensorflow/movinet": ("google",),
}
"""Models that are another owner's at Kaggle than the rest of their publisher's, by how their names begin."""

_PREFIXES = (
    *("edgetpu/nlp", "edgetpu/vision", "imagenet", "magenta", "on_device_vision/classifier"),
    *("small", "supcon", "tfgan/eval"),
)
"""What Kaggle leaves out at the beginning of some names; '/' or '_' follows."""

_FRAMEWORKS: Mapping[str, str] = {
    "saved_model_2": "tensorFlow2",
    "saved_model": "tensorFlow1",
    "hub": "tensorFlow1",
}
"""By the format of a model's files, as the catalogue has it."""

FIRST = "1"
"""The version that no version is before."""

_TYPED: Mapping[Kind, str] = {Kind.LITE: "tfLite", Kind.TFJS: "tfJs", Kind.CORAL: "coral"}

_DEFAULT = "default"


@dataclass(frozen=True)
class Wanted:
    """What Kaggle must list for it to have a model: `spellings` are of its name, squashed, the full ones first.

    `frameworks` has more than one where nothing tells. `version` is Kaggle's.
    """

    owners: Sequence[str]
    frameworks: Sequence[str]
    spellings: Sequence[str]
    version: str


class Rules:
    """The rules for models of the hub whose `catalog` this is. Immutable."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._alike: defaultdict[tuple[str, Kind, str], set[str]] = defaultdict(set)
        for handle in catalog.handles():
            name = handle.rpartition("/")[0]
            self._alike[_looks(name)].add(name)

    def wanted(self, model: ModelId) -> Wanted:
        """What to look for of a model.

        Raises `Untold`: the catalogue lacks the version, or two of its names would be the same at Kaggle.
        """
        alike = self._alike.get(_looks(model.name), set()) | {model.name}
        if len(alike) > 1:
            raise Untold(f"nothing tells which of {', '.join(sorted(alike))} has which name at Kaggle")
        frameworks, version = self._frameworks_and_rank(model)
        return Wanted(_owners(model.name), frameworks, _spellings(model.name), version)

    def _frameworks_and_rank(self, model: ModelId) -> tuple[Sequence[str], str]:
        """The frameworks that the model may have at Kaggle, and its version there. Raises `Untold`."""
        of_kind = _TYPED.get(kind_of(model.name))
        frameworks = {
            version: of_kind or self._framework(f"{model.name}/{version}")
            for version in self._catalog.versions(model.name)
        }
        known = frameworks.get(model.version)
        if known is not None:
            same = [version for version, framework in frameworks.items() if framework == known]
            return (known,), str(same.index(model.version) + 1)
        if not frameworks and model.version == FIRST:  # whichever versions there are, none is before it
            return (of_kind,) if of_kind else tuple(dict.fromkeys(_FRAMEWORKS.values())), FIRST
        raise Untold(f"the catalogue of the hub does not tell which versions of {model.name} came before")

    def _framework(self, handle: str) -> str | None:
        entry = self._catalog.entry(handle)
        return None if entry is None or entry.format is None else _FRAMEWORKS.get(entry.format)


def match(wanted: Wanted, listed: Iterable[str]) -> ModelId:
    """The one of the `listed` names (OWNER/MODEL/FRAMEWORK/VARIATION) that is what is `wanted`.

    Of several, the one counts whose model and variation together are the whole name. Raises `ModelNotFound` where that
    leaves none, and `Untold` where several: the longest model that begins the name would be a guess.
    """
    found: dict[str, bool] = {}
    for name in listed:
        owner, model, framework, variation = name.split("/")
        if owner in wanted.owners and framework in wanted.frameworks:
            fits = [_fit(text, _squashed(model), _squashed(variation)) for text in wanted.spellings]
            if any(fit is not None for fit in fits):
                found[name] = True in fits
    names = [*found] if len(found) == 1 else [name for name, whole in found.items() if whole]
    if len(names) == 1:
        return ModelId(names[0], wanted.version)
    if found:
        raise Untold(f"of the models that Kaggle lists, several could be it: {', '.join(sorted(found))}")
    raise ModelNotFound(f"Kaggle lists no model of {' and '.join(wanted.owners)} that could be it")


def _fit(text: str, model: str, variation: str) -> bool | None:
    """Whether a name is that of the variation of the model, and of both together; None for another name."""
    if text == model + variation:
        return True
    if text == variation:
        return False
    # The model cut out of the middle: its name's end and its beginning are the variation.
    cut = len(text) == len(model) + len(variation) and any(
        text.startswith(model, at) and text[:at] + text[at + len(model) :] == variation
        for at in range(1, len(variation) + 1)
    )
    return False if cut else None


def _owners(name: str) -> Sequence[str]:
    of_family = next((owners for start, owners in _OWNERS_OF_FAMILIES.items() if name.startswith(start)), None)
    publisher = name.partition("/")[0]
    return of_family or _OWNERS.get(publisher, (publisher,))


def _spellings(name: str) -> Sequence[str]:
    """The name without its publisher, squashed: whole, with `default` at its end, and without what Kaggle leaves out.

    Of a typed name, the numbers in front of a word (`blazeface/1/default`) are versions of the model that it was made
    of: Kaggle has none.
    """
    _, *segments = name.split("/")
    if is_typed(name.split("/")):
        _, *typed = segments
        segments = [
            text for text, following in zip(typed, [*typed[1:], "1"], strict=True) if not _inner(text, following)
        ]
    ends_in_default = len(segments) > 1 and segments[-1] == _DEFAULT
    whole = "/".join(segments[:-1] if ends_in_default else segments)
    found = [whole, f"{whole}/{_DEFAULT}"] if ends_in_default else [whole]
    found += [text[len(start) + 1 :] for text in found for start in _PREFIXES if _begins(text, start)]
    return [*filter(None, map(_squashed, found))]


def _looks(name: str) -> tuple[str, Kind, str]:
    """Names of which this is equal would be the same at Kaggle."""
    return name.partition("/")[0], kind_of(name), _spellings(name)[0]


def _inner(text: str, following: str) -> bool:
    return text.isdigit() and not following.isdigit()


def _begins(text: str, start: str) -> bool:
    return text.startswith((f"{start}/", f"{start}_"))


def _squashed(text: str) -> str:
    return "".join(filter(str.isalnum, text.lower()))
