"""`hubfs search`, over the bundled catalogue and the searches of stand-ins."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hubfs.cli import main
from tests.support.huggingface import HuggingFaceStandIn, too_many
from tests.support.kaggle import KaggleStandIn

FILES = {"x": b"y"}
YAMNET = "google/yamnet/tensorFlow2/yamnet"


@pytest.fixture
def hub() -> Iterator[HuggingFaceStandIn]:
    with HuggingFaceStandIn() as hub:
        for name in ("thelou1s/yamnet", "STMicro/YAMNet", "BAAI/bge-m3"):
            hub.put(name, FILES)
        yield hub


@pytest.fixture
def kaggle() -> Iterator[KaggleStandIn]:
    with KaggleStandIn(page_sizes=2) as kaggle:
        for version in (1, 2):
            kaggle.put(f"{YAMNET}/{version}", FILES)
        kaggle.put("google/yamnet/tfLite/classification/1", FILES)
        kaggle.put("google/spice/tfLite/spice/1", FILES)
        yield kaggle


@pytest.fixture
def search(hub: HuggingFaceStandIn, kaggle: KaggleStandIn, tmp_path: Path) -> "Search":
    return Search({"HF_ENDPOINT": hub.url, "HUBFS_KAGGLE_ENDPOINT": kaggle.url, "HOME": str(tmp_path)})


class Search:
    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment

    def __call__(self, *arguments: str) -> Result:
        return CliRunner().invoke(main, ["search", *arguments], env=self.environment)


def test_every_hub_is_searched_and_handles_are_printed_as_commands_take_them(search: Search) -> None:
    done = search("yamnet")
    assert done.exit_code == 0, done.output
    assert done.stderr == ""
    found = done.stdout.splitlines()
    assert found[0] == "google/coral-model/yamnet/classification/coral/1", "of the bundled catalogue"
    assert "google/yamnet/1" in found
    assert {f"kaggle:{YAMNET}/2", "kaggle:google/yamnet/tfLite/classification/1"} <= {*found}
    assert {"hf:thelou1s/yamnet", "hf:STMicro/YAMNet"} <= {*found}
    assert not any("bge" in one or "spice" in one for one in found)


def test_one_hub_is_searched_where_it_is_named(search: Search, kaggle: KaggleStandIn) -> None:
    assert search("yamnet", "--hub", "hf:STMicro").stdout == "hf:STMicro/YAMNet\n"
    assert search("yamnet", "--hub", "a=hf:", "--hub", "b=kaggle:", "--limit", "1").stdout == (
        f"a/thelou1s/yamnet\nb/{YAMNET}/2\n"
    )
    told = json.loads(search("yamnet", "--hub", "kaggle:google", "--json").stdout)
    assert told == {
        "found": {"kaggle:google": [f"kaggle:{YAMNET}/2", "kaggle:google/yamnet/tfLite/classification/1"]},
        "errors": {},
    }


def test_offline_the_catalogue_alone_is_searched(
    search: Search, hub: HuggingFaceStandIn, kaggle: KaggleStandIn
) -> None:
    found = search("universal", "encoder", "large", "--offline").stdout.splitlines()
    assert "google/universal-sentence-encoder-large/5" in found
    assert all("universal" in one and "encoder" in one and "large" in one for one in found)
    assert len(search("google", "--offline").stdout.splitlines()) == 10
    assert not hub.asked
    assert not kaggle.calls


def test_a_hub_that_does_not_answer_is_left_out_and_said(search: Search, hub: HuggingFaceStandIn) -> None:
    hub.script("list", too_many("api", 60))
    done = search("yamnet")
    assert done.exit_code == 0
    assert "google/yamnet/1" in done.stdout
    assert done.stderr.startswith("hubfs: hf: was left out: ")
    assert done.stderr.count("\n") == 1


def test_nothing_found_is_said(search: Search) -> None:
    done = search("no", "such", "model")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == "hubfs: nothing was found for no such model\n"
    assert search().exit_code == 2


@pytest.mark.parametrize("words", [[""], [" ", "\t"]])
def test_words_that_say_nothing_are_refused_and_nobody_is_asked(
    search: Search, hub: HuggingFaceStandIn, words: list[str]
) -> None:
    done = search(*words)
    assert (done.exit_code, done.stdout) == (2, "")
    assert "WORDS are empty" in done.stderr
    assert not hub.asked
