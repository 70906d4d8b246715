from hypothesis import given
from hypothesis import strategies as st

from hubfs.hubs.names_by_folder import NamesByFolder
from hubfs.hubs.tfhub.names.handle import parse_handle
from hubfs.model_id import ModelId

HANDLES = st.lists(
    st.builds(
        lambda publisher, name, version: parse_handle(f"{publisher}/{name}/{version}"),
        st.sampled_from(["google", "vtab"]),
        st.sampled_from(["spice", "bert", "bert/small", "bert/large"]),
        st.integers(1, 3),
    ),
    max_size=8,
)


@given(handles=HANDLES)
def test_it_knows_what_a_walk_over_all_handles_finds(handles: list[ModelId]) -> None:
    known = NamesByFolder(handles)
    texts = {str(handle) for handle in handles}
    for folder in ["", "google", "vtab", "google/bert", "google/bert/small", "google/spice", "nobody"]:
        prefix = f"{folder}/" if folder else ""
        expected = {text.removeprefix(prefix).split("/")[0] for text in texts if text.startswith(prefix)}
        assert known.children(folder) == expected
        versions = {text.rpartition("/")[2] for text in texts if text.rpartition("/")[0] == folder}
        assert known.versions(folder) == versions


def test_a_handle_that_is_added_twice_is_known_once() -> None:
    known = NamesByFolder()
    for _ in range(2):
        known.add(parse_handle("google/spice/2"))
    assert known.children("") == {"google"}
    assert known.versions("google/spice") == {"2"}
