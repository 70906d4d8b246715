"""The two dialects of Kaggle's API: how a question is put to it. The answers are the same. No I/O.

The methods and their fields are those of `models.ModelApiService` in kagglesdk 0.1.38, whose dialect is RPC: a POST of
JSON. kagglehub before 0.4 and most scripts speak REST: a GET.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, urlencode

from hubfs.errors import InvalidConfig, quoted

Fields = Mapping[str, str | int]

_SERVICE = "models.ModelApiService"
_RPC_HOST = "https://api.kaggle.com"
_REST_HOST = "https://www.kaggle.com"
_MODEL = ("ownerSlug", "modelSlug", "framework", "instanceSlug", "versionNumber")
"""The fields that name a variation and a version of it, as far as they are given, in the order of handles."""
_REST_WORDS = {
    "ListModels": "list",
    "GetModelInstance": "get",
    "ListModelInstanceVersions": "list",
    "ListModelInstanceVersionFiles": "files",
    "DownloadModelInstanceVersion": "download",
}


@dataclass(frozen=True)
class Question:
    """A GET of `url`, or a POST of `body` to it. `shown` names the method and the model in messages."""

    url: str
    body: bytes | None = field(repr=False)
    shown: str


Ask = Callable[[str, Fields], Question]
"""Puts a question: the method, and its fields."""


@dataclass(frozen=True)
class Dialect:
    """How the API is asked. `host` is the URL of its host."""

    host: str
    question: Ask


def dialect_of(name: str, endpoint: str | None) -> Dialect:
    """The dialect `rpc` or `rest`, at `endpoint` where that is not Kaggle's own host. Raises `InvalidConfig`."""
    if name == "rest":
        host = endpoint or _REST_HOST
        return Dialect(host, lambda method, fields: _rest(host, method, fields))
    if name in ("", "rpc"):
        return Dialect(endpoint or _RPC_HOST, lambda method, fields: rpc(endpoint, _SERVICE, method, fields))
    raise InvalidConfig(f"HUBFS_KAGGLE_DIALECT ({quoted(name)!r}) cannot be used: it must be rpc or rest")


def fields_of(name: str, version: str | None = None) -> Fields:
    """The fields that name a variation (`google/yamnet/tensorFlow2/yamnet`), or a version of it."""
    parts: list[str | int] = [*name.split("/")]
    if version is not None:
        parts.append(int(version))
    return dict(zip(_MODEL, parts, strict=False))


def rpc(endpoint: str | None, service: str, method: str, fields: Fields) -> Question:
    """A question of the RPC dialect to any service; what the fields say beside a model's name is not shown."""
    url = f"{endpoint}/api/v1/{service}/{method}" if endpoint else f"{_RPC_HOST}/v1/{service}/{method}"
    sent = dict(fields)
    if "framework" in sent:
        sent["framework"] = _constant(str(sent["framework"]))
    return Question(url, json.dumps(sent).encode(), f"{url}{_about(fields)}")


def _rest(host: str, method: str, fields: Fields) -> Question:
    path = [str(fields[key]) for key in _MODEL if key in fields]
    path += [_REST_WORDS[method], *([str(fields["path"])] if "path" in fields else [])]
    query = {key: text for key, text in fields.items() if key not in {*_MODEL, "path"}}
    url = f"{host}/api/v1/models/{quote('/'.join(path))}"
    return Question(f"{url}?{urlencode(query)}" if query else url, None, url)


def _about(fields: Fields) -> str:
    """What a question is about, for messages."""
    named = [str(fields[key]) for key in ("owner", *_MODEL, "path") if key in fields]
    return f" of {'/'.join(named)}" if named else ""


def _constant(framework: str) -> str:
    """The spelling of a framework in questions of clients: `tensorFlow2` is MODEL_FRAMEWORK_TENSOR_FLOW_2."""
    words = "".join(f"_{letter}" if letter.isupper() or letter.isdigit() else letter for letter in framework)
    return f"MODEL_FRAMEWORK_{words.upper()}"
