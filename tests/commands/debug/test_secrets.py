import json
from pathlib import Path

import pytest

from hubfs.commands.debug.secrets import Secrets
from hubfs.settings.config import Config

HIDDEN = "correct-horse-battery"


@pytest.mark.parametrize(
    "environment",
    [
        {"HF_TOKEN": HIDDEN},
        {"KAGGLE_KEY": HIDDEN},
        {"HUBFS_HEADERS": f"Authorization: Bearer {HIDDEN}"},
        {"HTTPS_PROXY": f"http://me:{HIDDEN}@proxy:3128"},
        {"ANY": f"https://host/x?sig={HIDDEN}"},
    ],
)
def test_a_value_of_the_environment_is_taken_out_wherever_it_is(environment: dict[str, str], tmp_path: Path) -> None:
    secrets = Secrets(Config(cache_dir=None), environment, tmp_path)
    assert HIDDEN not in secrets.without(f"a line that has {HIDDEN} in it, and %22{HIDDEN}%22")


def test_what_the_config_says_is_taken_out(tmp_path: Path) -> None:
    hidden = [f"{HIDDEN}-{number}" for number in range(4)]
    config = Config(
        hub=f"https://me:{hidden[0]}@host/x",
        token=hidden[1],
        headers={"X-Key": hidden[2]},
        shared_cache_url=f"s3://bucket/x?key={hidden[3]}",
    )
    said = Secrets(config, {}, tmp_path).without(" ".join(hidden))
    assert HIDDEN not in said


def test_what_credential_files_hold_is_taken_out(tmp_path: Path) -> None:
    (tmp_path / ".kaggle").mkdir()
    (tmp_path / ".kaggle" / "kaggle.json").write_text(json.dumps({"username": "me", "key": HIDDEN}))
    (tmp_path / "token").write_text(f"{HIDDEN}-2\n")
    secrets = Secrets(Config(cache_dir=None), {"HF_HOME": str(tmp_path)}, tmp_path)
    assert HIDDEN not in secrets.without(f"{HIDDEN} {HIDDEN}-2")


@pytest.mark.parametrize(
    "text",
    [
        f"https://me:{HIDDEN}@host/x",
        f"https://host/x?X-Goog-Signature={HIDDEN}",
        f"Authorization: Bearer {HIDDEN}",
        f"hf_{HIDDEN}",
        f"KGAT_{HIDDEN}",
        f"Basic {HIDDEN}",
    ],
)
def test_what_looks_like_a_secret_is_taken_out_though_nobody_knows_it(text: str, tmp_path: Path) -> None:
    secrets = Secrets(Config(cache_dir=None), {}, tmp_path)
    assert HIDDEN not in secrets.without(f"a {text}, and more")
    assert HIDDEN not in json.dumps(secrets.without_in({"a": [{text: f'"{text}"'}]}))


def test_the_rest_stays(tmp_path: Path) -> None:
    text = "2026-01-31 INFO google/spice/2: 3 of 5 bytes from https://host/x"
    assert Secrets(Config(cache_dir=None), {"TOKEN": "3 of", "PASS": ""}, tmp_path).without(text) == text
    assert Secrets(Config(cache_dir=None), {}, tmp_path).without_in({"a": [1, None, True, 0.5]}) == {
        "a": [1, None, True, 0.5]
    }
