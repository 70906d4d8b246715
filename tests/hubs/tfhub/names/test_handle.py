import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from hubfs.errors import InvalidHandle
from hubfs.hubs.tfhub.names.handle import (
    MAX_SEGMENTS,
    Kind,
    is_name_segment,
    is_publisher,
    is_version,
    kind_of,
    parse_handle,
    possible_models,
    version_age,
)
from hubfs.model_id import ModelId
from tests.support.catalogue import public_handles

REAL = [
    ("google/spice/2", ModelId("google/spice", "2")),
    ("google/bert_uncased_L-12_H-768_A-12/1", ModelId("google/bert_uncased_L-12_H-768_A-12", "1")),
    (
        "google/imagenet/mobilenet_v2_100_224/classification/5",
        ModelId("google/imagenet/mobilenet_v2_100_224/classification", "5"),
    ),
    ("tensorflow/bert_en_cased_preprocess/3", ModelId("tensorflow/bert_en_cased_preprocess", "3")),
    ("google/nnlm-en-dim128/0002", ModelId("google/nnlm-en-dim128", "0002")),
]

publishers = st.from_regex(r"[a-z0-9-]+", fullmatch=True)
segments = st.from_regex(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*", fullmatch=True).filter(lambda text: not text.isdigit())
names = st.tuples(
    st.from_regex(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*", fullmatch=True), st.lists(segments, max_size=MAX_SEGMENTS - 4)
).map(lambda parts: "/".join((parts[0], *parts[1])))
versions = st.from_regex(r"[0-9]+", fullmatch=True)


@pytest.mark.parametrize(("text", "handle"), REAL)
def test_real_handles_are_understood(text: str, handle: ModelId) -> None:
    assert parse_handle(text) == handle
    assert str(handle) == text


@given(publishers, names, versions)
def test_a_handle_reads_as_it_was_written(publisher: str, name: str, version: str) -> None:
    handle = ModelId(f"{publisher}/{name}", version)
    assert parse_handle(str(handle)) == handle


@given(st.text())
def test_any_text_is_a_handle_or_invalid(text: str) -> None:
    try:
        handle = parse_handle(text)
    except InvalidHandle as error:
        assert str(error)  # noqa: PT017 - either outcome is right
    else:
        assert str(handle) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "google",
        "google/spice",
        "google/2",
        "google/spice/latest",
        "google/spice/2/",
        "google/spice/2/saved_model.pb",
        "/google/spice/2",
        "google//2",
        "Google/spice/2",
        "google/.git/2",
        "google/sp ice/2",
        "google/../2",
        "google/spice/²",
        "google/spice/٣",
        "google/sp\nice/2",
        "google/spice\n/2",
        "googlé/spice/2",
        "google/spicé/2",
        "google/spice/2\n",
    ],
)
def test_what_no_hub_could_have_is_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidHandle):
        parse_handle(text)


@pytest.mark.parametrize(
    ("path", "candidates"),
    [
        ("", []),
        ("google", []),
        ("google/imagenet/mobilenet", []),
        ("google/spice/2", [("google/spice/2", [])]),
        ("google/spice/2/variables/variables.index", [("google/spice/2", ["variables", "variables.index"])]),
        ("google/spice/2/.hidden", [("google/spice/2", [".hidden"])]),
        ("google/7/2", [("google/7/2", [])]),
        ("google/spice/2/3", [("google/spice/2", ["3"])]),
        ("google/lite-model/1", []),
        ("google/lite-model/7/1", [("google/lite-model/7/1", [])]),
        (
            "google/tfjs-model/spice/2/default/1/model.json",
            [
                ("google/tfjs-model/spice/2", ["default", "1", "model.json"]),
                ("google/tfjs-model/spice/2/default/1", ["model.json"]),
            ],
        ),
        ("google/coral-model/x/1/.hidden/2", [("google/coral-model/x/1", [".hidden", "2"])]),
        ("google/tfjs-model/x/1/a b/2", [("google/tfjs-model/x/1", ["a b", "2"])]),
    ],
)
def test_a_path_may_begin_with_these_handles(path: str, candidates: list[tuple[str, list[str]]]) -> None:
    found = possible_models(path.split("/") if path else [])
    assert [(str(handle), [*rest]) for handle, rest in found] == candidates


@pytest.mark.parametrize("path", ["Google/spice/2", "google/.git/2", "google/a b", "google/tfjs-model/.x/1", "a//1"])
def test_a_path_that_cannot_lead_to_a_model_is_refused(path: str) -> None:
    with pytest.raises(InvalidHandle):
        possible_models(path.split("/"))


@given(publishers, st.sampled_from(Kind), names, versions)
def test_a_handle_is_a_candidate_of_every_path_in_it(publisher: str, kind: Kind, name: str, version: str) -> None:
    handle = ModelId("/".join(filter(None, (publisher, kind.value, name))), version)
    assume(kind_of(handle.name) is kind)
    assert (handle, ["a", "b.bin"]) in possible_models([*str(handle).split("/"), "a", "b.bin"])


_KINDS = {"Module": Kind.MODEL, "Lite": Kind.LITE, "Tfjs": Kind.TFJS, "Coral": Kind.CORAL}


def test_every_real_handle_parses_prints_back_and_has_its_kind() -> None:
    models = public_handles().models
    assert len(models) == 2548
    for text, kind in models.items():
        handle = parse_handle(text)
        assert (str(handle), kind_of(handle.name)) == (text, _KINDS[kind])
        assert [candidate for candidate, rest in possible_models(text.split("/")) if not rest] == [handle]


def test_no_real_handle_is_mistaken_for_another_one() -> None:
    models = public_handles().models
    for text in models:
        candidates = possible_models([*text.split("/"), "variables", "1"])
        assert [str(handle) for handle, _ in candidates if str(handle) in models] == [text]


def test_the_grammar_of_the_parts() -> None:
    assert is_publisher("tensorflow-2")
    assert not is_publisher("tensor_flow")
    assert is_name_segment("V1.0_x-y")
    assert not is_name_segment(".x")
    assert is_version("0002")
    assert not is_version("2a")


def test_a_handle_has_a_bounded_number_of_segments():
    names = "/".join("n" * (MAX_SEGMENTS - 2))
    assert parse_handle(f"google/{names}/1").version == "1"
    with pytest.raises(InvalidHandle):
        parse_handle(f"google/{names}/n/1")
    with pytest.raises(InvalidHandle):
        possible_models(["google", *"n" * MAX_SEGMENTS, "1"])
    assert len(possible_models(["google", "tfjs-model", "a", *"1" * 2000])) < MAX_SEGMENTS


def test_a_segment_is_no_longer_than_the_name_of_a_file():
    assert is_name_segment("a" * 255)
    assert not is_name_segment("a" * 256)
    assert not is_version("1" * 256)


def test_versions_are_sorted_as_numbers_of_any_length():
    assert sorted(["10", "9", "1" * 5000, "007"], key=version_age) == ["007", "9", "10", "1" * 5000]
