import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubfs.errors import InvalidHandle
from hubfs.hub.handle import Handle, is_name_segment, is_publisher, is_version

REAL = [
    ("google/spice/2", Handle("google", "spice", "2")),
    ("google/bert_uncased_L-12_H-768_A-12/1", Handle("google", "bert_uncased_L-12_H-768_A-12", "1")),
    (
        "google/imagenet/mobilenet_v2_100_224/classification/5",
        Handle("google", "imagenet/mobilenet_v2_100_224/classification", "5"),
    ),
    ("tensorflow/bert_en_cased_preprocess/3", Handle("tensorflow", "bert_en_cased_preprocess", "3")),
    ("google/nnlm-en-dim128/0002", Handle("google", "nnlm-en-dim128", "0002")),
]

publishers = st.from_regex(r"[a-z0-9-]+", fullmatch=True)
segments = st.from_regex(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*", fullmatch=True).filter(lambda text: not text.isdigit())
names = st.tuples(st.from_regex(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*", fullmatch=True), st.lists(segments)).map(
    lambda parts: "/".join((parts[0], *parts[1]))
)
versions = st.from_regex(r"[0-9]+", fullmatch=True)


@pytest.mark.parametrize(("text", "handle"), REAL)
def test_real_handles_are_understood(text: str, handle: Handle) -> None:
    assert Handle.parse(text) == handle
    assert str(handle) == text


@given(publishers, names, versions)
def test_a_handle_reads_as_it_was_written(publisher: str, name: str, version: str) -> None:
    handle = Handle(publisher, name, version)
    assert Handle.parse(str(handle)) == handle


@given(st.text())
def test_any_text_is_a_handle_or_invalid(text: str) -> None:
    try:
        handle = Handle.parse(text)
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
        Handle.parse(text)


@pytest.mark.parametrize(
    ("path", "handle", "rest"),
    [
        ("", None, []),
        ("google", None, []),
        ("google/imagenet/mobilenet", None, []),
        ("google/spice/2", "google/spice/2", []),
        ("google/spice/2/variables/variables.index", "google/spice/2", ["variables", "variables.index"]),
        ("google/spice/2/.hidden", "google/spice/2", [".hidden"]),
        ("google/7/2", "google/7/2", []),
        ("google/spice/2/3", "google/spice/2", ["3"]),
    ],
)
def test_a_path_is_split_at_its_version(path: str, handle: str | None, rest: list[str]) -> None:
    found, left = Handle.split(path.split("/") if path else [])
    assert (None if found is None else str(found), left) == (handle, rest)


def test_the_grammar_of_the_parts() -> None:
    assert is_publisher("tensorflow-2")
    assert not is_publisher("tensor_flow")
    assert is_name_segment("V1.0_x-y")
    assert not is_name_segment(".x")
    assert is_version("0002")
    assert not is_version("2a")
