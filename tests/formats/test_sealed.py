import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubfs.errors import Damaged
from hubfs.formats.sealed import seal, unseal
from tests.support.archives import flipped

MAGIC = b"a magic!"


@given(st.binary(max_size=100))
def test_what_was_sealed_is_unsealed(body: bytes):
    assert unseal(MAGIC, 3, seal(MAGIC, 3, body), "a thing") == body


@given(st.binary(max_size=60), st.data())
def test_any_wrong_bit_and_any_cut_is_noticed(body: bytes, data: st.DataObject):
    sealed = seal(MAGIC, 3, body)
    with pytest.raises(Damaged, match="a thing"):
        unseal(MAGIC, 3, flipped(sealed, data.draw(st.integers(0, len(sealed) * 8 - 1))), "a thing")
    with pytest.raises(Damaged, match="a thing"):
        unseal(MAGIC, 3, sealed[: data.draw(st.integers(0, len(sealed) - 1))], "a thing")


def test_something_behind_it_is_noticed():
    with pytest.raises(Damaged, match="this was a thing"):
        unseal(MAGIC, 3, seal(MAGIC, 3, b"body") + b"\0", "a thing")


@pytest.mark.parametrize("version", [2, 4])
def test_another_version_says_so(version: int):
    with pytest.raises(Damaged, match=f"a thing of version {version}, and version 3 can be read: make it anew"):
        unseal(MAGIC, 3, seal(MAGIC, version, b"body"), "a thing")


@given(st.binary(max_size=100))
def test_other_bytes_are_something_else(data: bytes):
    with pytest.raises(Damaged, match="this is not a thing"):
        unseal(MAGIC, 3, data, "a thing")
