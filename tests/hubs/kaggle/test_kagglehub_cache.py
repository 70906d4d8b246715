import os.path

import pytest

from hubfs.hubs.kaggle.kagglehub_cache import KagglehubCache

AT = "models/google/yamnet/tensorFlow2/yamnet"
VIEW = "/mnt/.hubfs/kagglehub"


def leads_to(path: str) -> str | None:
    target = KagglehubCache("../..").target(path)
    return None if target is None else os.path.normpath(f"{VIEW}/{path}/../{target}")


@pytest.mark.parametrize(
    ("path", "model"),
    [
        (f"{AT}/1", "1"),
        (f"{AT}/12.complete", "12"),
        (f"{AT}/.complete/1/saved_model.pb.complete", "1/saved_model.pb"),
        (f"{AT}/.complete/1/variables/variables.index.complete", "1/variables/variables.index"),
        (f"{AT}/.complete/1/1.complete.complete", "1/1.complete"),
    ],
)
def test_a_model_and_its_markers_lead_into_the_hub(path: str, model: str) -> None:
    assert leads_to(path) == f"/mnt/google/yamnet/tensorFlow2/yamnet/{model}"
    assert leads_to(path.replace("tensorFlow2", "TENSORFLOW2")) == f"/mnt/google/yamnet/tensorFlow2/yamnet/{model}"
    assert not KagglehubCache("../..").is_folder(path)


def test_of_several_hubs_the_links_lead_into_the_hubs_directory() -> None:
    assert KagglehubCache("../../kaggle").target(f"{AT}/1") == f"../../../../../../../kaggle/{AT.partition('/')[2]}/1"


@pytest.mark.parametrize(
    "path",
    ["models", "models/google", AT, f"{AT}/.complete", f"{AT}/.complete/1", f"{AT}/.complete/1/variables/deeper"],
)
def test_what_leads_to_them_is_a_folder(path: str) -> None:
    assert KagglehubCache("../..").is_folder(path)
    assert leads_to(path) is None


@pytest.mark.parametrize(
    "path",
    [
        *("datasets", "models/.git", "models/google/yamnet/cobol", f"{AT}/0", f"{AT}/latest", f"{AT}/1/saved_model.pb"),
        *(f"{AT}/1.archive", f"{AT}/.complete/latest", f"{AT}/.complete/0/x.complete", f"{AT}/1.complete/x"),
    ],
)
def test_nothing_else_is_there(path: str) -> None:
    view = KagglehubCache("../..")
    assert (view.target(path), view.content(path), view.is_folder(path)) == (None, None, False)
