"""What the stand-in for Kaggle has: variations and their versions, and how its answers name them."""

import io
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

_DATE = "2024-06-01T12:00:00.000Z"


@dataclass(frozen=True)
class Version:
    """A version of a variation. `listed` are sizes that the listing tells, `stored` other bytes of the store."""

    instance_id: int
    version_id: int
    files: Mapping[str, bytes]
    listed: Mapping[str, int]
    stored: Mapping[str, bytes]


@dataclass
class Variation:
    owner: str
    model: str
    framework: str
    slug: str
    instance_id: int
    versions: dict[int, Version] = field(default_factory=dict)


def squashed(framework: str) -> str:
    """One spelling of a framework: MODEL_FRAMEWORK_TENSOR_FLOW_2 and TensorFlow2 are tensorflow2."""
    return framework.lower().removeprefix("model_framework_").replace("_", "")


def model_of(variations: Iterable[Variation]) -> dict[str, Any]:
    every = list(variations)
    owner, slug = every[0].owner, every[0].model
    instances = [instance_of(each) for each in every]
    return {"ref": f"{owner}/{slug}", "title": slug, "author": owner, "slug": slug, "instances": instances, "more": {}}


def instance_of(variation: Variation) -> dict[str, Any]:
    newest = max(variation.versions)
    where = f"/models/{variation.owner}/{variation.model}/{variation.framework}/{variation.slug}/{newest}"
    return {
        "id": variation.instance_id,
        "slug": variation.slug,
        "framework": variation.framework,
        "versionId": variation.versions[newest].version_id,
        "versionNumber": newest,
        "url": f"https://www.kaggle.com{where}",
        "downloadUrl": f"{where}/download",
        "totalUncompressedBytes": sum(map(len, variation.versions[newest].files.values())),
        "licenseName": "Apache 2.0",
    }


def files_of(version: Version) -> list[dict[str, Any]]:
    return [
        {"name": path, "size": version.listed.get(path, len(content)), "creationDate": _DATE, "more": 1}
        for path, content in version.files.items()
    ]


def version_of(variation: Variation, number: int) -> dict[str, Any]:
    return {
        "id": variation.versions[number].version_id,
        "framework": variation.framework,
        "variationSlug": variation.slug,
        "versionNumber": number,
        "modelInstanceId": variation.instance_id,
    }


def object_of(version: Version, path: str) -> str:
    return quote(f"/kagglesdsdata/models/{version.instance_id}/{version.version_id}/{path}")


def archive_of(version: Version) -> str:
    return f"/kaggle-models-data/{version.instance_id}/{version.version_id}/bundle/archive.tar.gz"


def tar_gz(files: Mapping[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=1) as archive:
        for path, content in files.items():
            member = tarfile.TarInfo(path)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()
