"""The names of Kaggle Models: OWNER/MODEL/FRAMEWORK/VARIATION, versions that are numbers, and their URLs. No I/O."""

import re
from collections.abc import Mapping, Sequence
from urllib.parse import unquote, urlsplit

from hubfs.errors import EntryNotFound, InvalidHandle, quoted
from hubfs.hubs.place import Alias, Folder, InModel, Link, Place
from hubfs.model_id import ModelId

LATEST = "latest"
"""The name, beside versions, of the symlink to the newest."""

NAME_SEGMENTS = 4
"""Owner, model, framework, variation."""

_FRAMEWORK_AT = 2

_SLUG = re.compile(r"(?!\.)[\w.-]{1,255}", re.ASCII)
_VERSION = re.compile(r"[1-9]\d{0,8}", re.ASCII)

# The values of kagglesdk's enumeration of frameworks, as Kaggle's URLs spell them.
_FRAMEWORKS: Mapping[str, str] = {
    name.lower(): name
    for name in (
        *("tensorFlow1", "tensorFlow2", "tfLite", "tfJs", "pyTorch", "jax", "flax", "pax", "maxText", "gemmaCpp"),
        *("ggml", "gguf", "coral", "scikitLearn", "mxnet", "onnx", "keras", "transformers", "api", "other"),
        *("tensorRtLlm", "triton", "vllm"),
    )
}

_SCHEMES = ("https", "http")
_HOSTS = ("kaggle.com", "www.kaggle.com", "api.kaggle.com")
_LABELS = {3: "frameworks", 5: "variations", 7: "versions"}
"""The words between the parts of the long form of a URL, by their place behind the owner."""


def framework(text: str) -> str | None:
    """The spelling of a framework in handles (`tensorFlow2`), from any case; None for no framework."""
    return _FRAMEWORKS.get(text.lower())


def is_slug(text: str) -> bool:
    """Whether `text` could be an owner, a model or a variation."""
    return _SLUG.fullmatch(text) is not None


def is_version(text: str) -> bool:
    """Whether `text` is a version."""
    return _VERSION.fullmatch(text) is not None


def parse(text: str) -> ModelId:
    """Reads `google/yamnet/tensorFlow2/yamnet/1`, the framework in any case. Raises `InvalidHandle`."""
    name, version = parse_name(text)
    if version is None:
        raise _invalid(text)
    return ModelId(name, version)


def parse_name(text: str) -> tuple[str, str | None]:
    """The name in a handle and its version; None where the handle has none. Raises `InvalidHandle`."""
    parts = text.split("/")
    if len(parts) not in (NAME_SEGMENTS, NAME_SEGMENTS + 1):
        raise _invalid(text)
    name = canonical(parts[:NAME_SEGMENTS])
    if name is None or not all(map(is_version, parts[NAME_SEGMENTS:])):
        raise _invalid(text)
    return "/".join(name), next(iter(parts[NAME_SEGMENTS:]), None)


def _invalid(text: str) -> InvalidHandle:
    return InvalidHandle(
        f"'{quoted(text)}' is no handle of Kaggle Models: it must read OWNER/MODEL/FRAMEWORK/VARIATION/VERSION, "
        "such as google/yamnet/tensorFlow2/yamnet/1"
    )


def canonical(segments: Sequence[str]) -> tuple[str, ...] | None:
    """Up to four segments of a name, the framework in the spelling of handles; None for what is no name."""
    found = []
    for position, text in enumerate(segments):
        name = framework(text) if position == _FRAMEWORK_AT else text
        if name is None or not is_slug(name):
            return None
        found.append(name)
    return tuple(found)


def find(text: str) -> tuple[str, str | None] | None:
    """The name and the version (None: the latest) in a handle or in a URL of Kaggle; None for a URL of another host.

    Takes the URLs that a browser shows (`/models/O/M/F/V/N`, `/models/O/M/frameworks/F/variations/V/versions/N`), those
    of downloads and of the API, and `kaggle://O/M/F/V`. Raises `InvalidHandle` for one that names no variation.
    """
    if "://" not in text:
        return parse_name(text.removeprefix("kaggle:").strip("/"))
    try:
        url = urlsplit(text)
        parts = [unquote(part) for part in url.path.split("/") if part]
        if url.scheme == "kaggle":
            parts = [url.netloc, *parts]
        elif url.scheme not in _SCHEMES or url.hostname not in _HOSTS:
            return None
        else:
            start = ["api", "v1", "models"] if parts[:1] == ["api"] else ["models"]
            if parts[: len(start)] != start:
                raise _invalid(text)
            parts = parts[len(start) :]
    except ValueError:
        raise _invalid(text) from None
    if all(position >= len(parts) or parts[position - 1] == word for position, word in _LABELS.items()) and (
        len(parts) > _FRAMEWORK_AT and parts[_FRAMEWORK_AT] == _LABELS[3]
    ):
        parts = [part for position, part in enumerate(parts, 1) if position not in _LABELS]
    versioned = len(parts) > NAME_SEGMENTS and is_version(parts[NAME_SEGMENTS])
    return parse_name("/".join(parts[: NAME_SEGMENTS + versioned]))


def place_of(path: str) -> Place:
    """What `path` (absolute, below the hub's root) is. Raises `EntryNotFound` for what cannot exist.

    Another spelling of a framework is a symlink to the one of handles: of both, there is one model in the cache.
    """
    segments = tuple(segment for segment in path.split("/") if segment)
    name = canonical(segments[:NAME_SEGMENTS])
    if name is None:
        raise EntryNotFound(f"'{quoted(path)}' cannot lead to a model of Kaggle")
    rest = segments[NAME_SEGMENTS:]
    if not rest:
        moved = len(name) == _FRAMEWORK_AT + 1 and name != segments
        return Link(name[_FRAMEWORK_AT]) if moved else Folder(name)
    if rest == (LATEST,):
        return Alias("/".join(name))
    if not is_version(rest[0]):
        raise EntryNotFound(f"'{quoted(rest[0])}' is no version: a number from 1 on, or {LATEST}")
    return InModel(ModelId("/".join(name), rest[0]), "/".join(rest[1:]))
