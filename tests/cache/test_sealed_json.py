import json
import random

import pytest

from hubfs.cache.sealed_json import seal, seal_text, unseal

NAME = "hub/google/spice/2@ab"
CONTENT = {"path": "\udc80 ü", "sizes": [1, 2.5, None]}


def test_what_was_sealed_is_got_and_reads_as_json() -> None:
    sealed = seal("index", NAME, CONTENT)
    assert unseal("index", NAME, sealed) == CONTENT
    assert json.loads(sealed)["index"] == CONTENT


def test_whatever_else_is_there_is_refused() -> None:
    sealed = seal("index", NAME, CONTENT)
    chance = random.Random(7)
    changed = [sealed[:cut] for cut in range(len(sealed))]
    for place in range(len(sealed)):
        flipped = bytearray(sealed)
        flipped[place] ^= 1 << chance.randrange(8)
        changed.append(bytes(flipped))
    changed += [sealed + b"\n", b"\n" + sealed, bytes(len(sealed)), sealed.replace(b'"version": 2', b'"version": 3')]
    changed += [seal_text("index", NAME, text) for text in (b"", b"[1]", b"null", b"\xff", b"[" * 100_000, b"{")]
    for data in changed:
        with pytest.raises(ValueError, match=r"it is|Expecting|utf"):
            unseal("index", NAME, data)


def test_what_is_another_s_or_of_another_kind_is_refused() -> None:
    for kind, name in (("latest", NAME), ("index", f"{NAME}c")):
        with pytest.raises(ValueError, match="it is damaged"):
            unseal(kind, name, seal("index", NAME, CONTENT))


def test_an_index_of_before_is_still_read() -> None:
    kept = b'{"version": 2, "crc32c": 2161784083, "index":\n{"form": "compressed"}\n}\n'
    assert unseal("index", "hub/a/b/1@x", kept) == {"form": "compressed"}
