"""What Kaggle calls a model, by the rules alone."""

from collections import defaultdict
from collections.abc import Sequence

import pytest

from hubfs.errors import ModelNotFound
from hubfs.hubs.tfhub.bundled import bundled_catalogue
from hubfs.hubs.tfhub.names.catalogue import Catalog, CatalogEntry, CatalogKind
from hubfs.hubs.tfhub.names.handle import Kind, kind_of, parse_handle
from hubfs.hubs.tfhub.rank import Rules, match

_KINDS = {kind.model_kind: kind for kind in CatalogKind if kind.model_kind is not None}


def catalog_of(formats: dict[str, str]) -> Catalog:
    return Catalog(
        CatalogEntry(_KINDS[kind_of(handle.rpartition("/")[0])], handle, format=format_ or None)
        for handle, format_ in formats.items()
    )


def at_kaggle(handle: str, catalog: Catalog, listed: Sequence[str]) -> str:
    return str(match(Rules(catalog).wanted(parse_handle(handle)), listed))


@pytest.mark.parametrize(
    ("handle", "name"),
    [
        ("made/bird-song/1", "made/bird/tensorFlow2/song"),  # model and variation
        ("made/bird-song/1", "made/birds/tensorFlow2/bird-song"),  # the variation alone
        ("made/bird/1", "made/bird/tensorFlow2/bird"),  # both
        ("made/old_bird_song/1", "made/bird/tensorFlow2/old-song"),  # the model is cut out of the middle
        ("made/song_of_bird/1", "made/bird/tensorFlow2/song-of"),
        ("made/imagenet/bird_130_224/classification/1", "made/bird/tensorFlow2/130-224-classification"),
        ("sayakpaul/bird/s/1", "spsayakpaul/bird/tensorFlow2/s"),
        ("sayakpaul/mobilevit_s/1", "kaggle/mobilevit/tensorFlow2/s"),
        ("prvi/bird/1", "kaggle/bird/tensorFlow2/bird"),
        ("jeongukjae/bird/1", "kaggle/bird/tensorFlow2/bird"),
    ],
)
def test_a_name_is_found_among_those_of_its_owner(handle: str, name: str) -> None:
    others = ["made/bird/tensorFlow1/song", "other/bird/tensorFlow2/song", "made/birdsong/tensorFlow2/loud"]
    assert at_kaggle(handle, catalog_of({handle: "saved_model_2"}), [*others, name]) == f"{name}/1"


@pytest.mark.parametrize(
    ("handle", "name"),
    [  # as they were seen
        ("tensorflow/tfjs-model/blazeface/1/default/1", "tensorflow/blazeface/tfJs/default/1"),
        ("mediapipe/tfjs-model/handpose_3d/landmark/full/1", "mediapipe/handpose-3d/tfJs/landmark-full/1"),
        (
            "tensorflow/tfjs-model/posenet/mobilenet/float/075/1/default/1",
            "tensorflow/posenet-mobilenet/tfJs/float-075/1",
        ),
        ("tensorflow/lite-model/ssd_mobilenet_v1/1/metadata/1", "tensorflow/ssd-mobilenet-v1/tfLite/metadata/1"),
        ("tensorflow/lite-model/ssd_mobilenet_v1/1/metadata/2", "tensorflow/ssd-mobilenet-v1/tfLite/metadata/2"),
        ("google/lite-model/yamnet/classification/tflite/1", "google/yamnet/tfLite/classification-tflite/1"),
        (
            "google/lite-model/movenet/singlepose/thunder/tflite/int8/4",
            "google/movenet/tfLite/singlepose-thunder-tflite-int8/1",
        ),
    ],
)
def test_a_typed_name_loses_the_versions_inside_it(handle: str, name: str) -> None:
    publisher, model, framework, variation, _ = name.split("/")
    others = [f"{publisher}/{model}/{framework}/{other}" for other in ("other", f"{variation}-2")]
    assert at_kaggle(handle, bundled_catalogue(), [*others, name.rpartition("/")[0]]) == name


def test_a_version_is_its_rank_among_those_of_its_framework() -> None:
    formats = {"1": "hub", "3": "hub", "4": "saved_model_2", "7": "saved_model", "10": "saved_model_2"}
    catalog = catalog_of({f"made/bird/{version}": format_ for version, format_ in formats.items()})
    listed = ["made/bird/tensorFlow1/bird", "made/bird/tensorFlow2/bird"]
    assert {version: at_kaggle(f"made/bird/{version}", catalog, listed) for version in formats} == {
        "1": "made/bird/tensorFlow1/bird/1",
        "3": "made/bird/tensorFlow1/bird/2",
        "7": "made/bird/tensorFlow1/bird/3",
        "4": "made/bird/tensorFlow2/bird/1",
        "10": "made/bird/tensorFlow2/bird/2",
    }


def test_of_several_the_one_counts_that_the_name_is_made_of() -> None:
    handle = "made/bert_uncased/1"
    both = ["made/bert/tensorFlow2/bert-uncased", "made/bert/tensorFlow2/uncased"]
    assert at_kaggle(handle, catalog_of({handle: "saved_model_2"}), both) == "made/bert/tensorFlow2/uncased/1"


@pytest.mark.parametrize(
    ("listed", "why"),
    [
        (["made/bird/tensorFlow2/song-2", "made/bird-so/tensorFlow2/n"], "no model of made"),  # the longest would be it
        (["made/bird-song/tensorFlow2/bird-song", "made/x/tensorFlow2/bird-song"], "several could be it: made/bird"),
        (["made/bird/tensorFlow2/song", "made/bir/tensorFlow2/d-song"], "several could be it"),
        ([], "no model of made"),
    ],
)
def test_nothing_is_guessed(listed: Sequence[str], why: str) -> None:
    handle = "made/bird-song/1"
    with pytest.raises(ModelNotFound, match=why):
        at_kaggle(handle, catalog_of({handle: "saved_model_2"}), listed)


def test_of_a_name_that_the_catalogue_lacks_only_the_first_version_has_a_rank() -> None:
    listed = ["made/bird/tensorFlow1/song"]
    assert at_kaggle("made/bird-song/1", Catalog(), listed) == "made/bird/tensorFlow1/song/1"
    with pytest.raises(ModelNotFound, match="several"):
        at_kaggle("made/bird-song/1", Catalog(), [*listed, "made/bird/tensorFlow2/song"])
    with pytest.raises(ModelNotFound, match="which versions of made/bird-song came before"):
        at_kaggle("made/bird-song/2", Catalog(), listed)
    with pytest.raises(ModelNotFound, match="which versions of made/bird-song came before"):
        at_kaggle("made/bird-song/3", catalog_of({"made/bird-song/2": "hub"}), listed)


def test_names_that_would_be_one_at_kaggle_are_none() -> None:
    names = [f"made/tfjs-model/bird/{version}/default/1" for version in (1, 3)]
    with pytest.raises(ModelNotFound, match=r"made/tfjs-model/bird/1/default, made/tfjs-model/bird/3/default"):
        at_kaggle(names[0], catalog_of(dict.fromkeys(names, "")), ["made/bird/tfJs/default"])


def test_the_rules_tell_every_name_that_a_redirect_showed() -> None:
    catalog = bundled_catalogue()
    known = {entry.handle: entry.kaggle for entry in catalog.entries if entry.kaggle is not None}
    listed: defaultdict[str, set[str]] = defaultdict(set)
    for name in known.values():
        listed[name.name.partition("/")[0]].add(name.name.rpartition("/")[0])
    rules, told = Rules(catalog), set()
    for handle, name in known.items():
        look_for = rules.wanted(parse_handle(handle))
        found = match(look_for, [one for owner in look_for.owners for one in listed[owner]])
        if str(found) == name.name:
            told.add(handle)
    assert len([handle for handle in told if known[handle].seen]) == 682
    assert len(told) == len(known) == 941


def test_the_kinds_of_handles_all_have_a_framework() -> None:
    for kind in Kind:
        name = "/".join(filter(None, ("made", kind.value, "bird")))
        framework = Rules(catalog_of({f"{name}/1": "hub"})).wanted(parse_handle(f"{name}/1")).frameworks
        assert len(framework) == 1
