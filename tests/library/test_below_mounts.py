"""Where handles are below mounts: directories with the attributes of one, in a table of mounts."""

import errno
import json
import os
from pathlib import Path

import pytest

from hubfs.errors import InvalidHandle, ModelNotFound, MountFailed, Unavailable
from hubfs.hubs.names import names_at
from hubfs.library.below_mounts import below_a_mount
from hubfs.mounts import table as mount_table

MOUNTS: list[tuple[str, str]] = [("one", "https://tfhub.dev"), ("two", "gs://bucket/team")]


@pytest.fixture
def mounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What looks like MOUNTS from the outside."""
    table = tmp_path / "mounts"
    device, owner = tmp_path.stat().st_dev, os.geteuid()
    table.write_text(
        "".join(
            f"4{number} 22 {os.major(device)}:{os.minor(device)} / {tmp_path}/{name} ro "
            f"- fuse.hubfs hubfs ro,user_id={owner}\n"
            for number, (name, _) in enumerate(MOUNTS)
        )
    )
    monkeypatch.setattr(mount_table, "_TABLE", table)
    for name, hub in MOUNTS:
        (tmp_path / name / ".hubfs").mkdir(parents=True)
        (tmp_path / name / ".hubfs" / "mount.json").write_text(json.dumps({"hub": hub}))
    return tmp_path


def put(root: Path, handle: str, *, latest: bool = False) -> Path:
    directory = root / handle
    directory.mkdir(parents=True)
    try:
        os.setxattr(directory, "user.hubfs.handle", handle.encode())
    except OSError as error:
        if error.errno != errno.ENOTSUP:
            raise
        pytest.skip("the temporary directory has no extended attributes")
    if latest:
        (directory.parent / "latest").symlink_to(directory.name)
    return directory


def test_another_user_s_mounts_are_not_waited_for(mounts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand of them that never answer would take five seconds each; one that is dead was named as a reason."""
    (mounts / "mounts").write_text(
        (mounts / "mounts").read_text()
        + "".join(
            f"5{number} 22 0:{number} / {mounts}/other-{number} ro - fuse.hubfs hubfs ro,user_id={os.geteuid() + 1}\n"
            for number in range(3)
        )
    )
    asked = []
    look = mount_table.look

    def noted(where: Path, name: str) -> mount_table.Answer:
        asked.append(where.name)
        return look(where, name)

    monkeypatch.setattr(mount_table, "look", noted)
    model = put(mounts / "one", "google/spice/2")
    assert below_a_mount("google/spice/2") == model
    assert sorted(asked) == sorted(name for name, _ in MOUNTS)  # side by side, in whichever order


@pytest.mark.parametrize(
    "text",
    [
        "google/spice/2",
        "google/spice",
        "google/spice/",
        "https://tfhub.dev/google/spice/2",
        "tfhub:google/spice/2",
        "tfhub:google/spice",
        "https://tfhub.dev/google/spice?tf-hub-format=compressed",
        "http://tfhub.dev/google/spice/2/",
    ],
)
def test_a_handle_a_name_and_their_urls_lead_to_the_model(mounts: Path, text: str) -> None:
    model = put(mounts / "one", "google/spice/2", latest=True)
    assert below_a_mount(text) == model


def test_the_mount_of_the_hub_that_the_url_names_is_taken(mounts: Path) -> None:
    put(mounts / "one", "google/spice/2")
    other = put(mounts / "two", "google/spice/2")
    assert below_a_mount("gs://bucket/team/google/spice/2") == other
    assert below_a_mount("https://tfhub.dev/google/spice/2") == mounts / "one/google/spice/2"


def test_a_plain_handle_is_looked_for_below_every_mount(mounts: Path) -> None:
    model = put(mounts / "two", "team/model/1", latest=True)
    assert below_a_mount("team/model/1") == below_a_mount("team/model") == model


def test_a_handle_is_found_below_the_hub_whose_name_stands_before_it(mounts: Path) -> None:
    about = mounts / "one" / ".hubfs" / "mount.json"
    about.write_text(json.dumps({"hub": None, "hubs": {"Main": "https://tfhub.dev", "team": "gs://bucket/team"}}))
    main = put(mounts / "one", "Main/google/spice/2")
    team = put(mounts / "one", "team/google/spice/2", latest=True)
    assert below_a_mount("google/spice/2") == main
    assert below_a_mount("Main/google/spice/2") == main
    assert below_a_mount("team/google/spice/2") == below_a_mount("team/google/spice/") == team
    for unknown in ("Main/google/spice/3", "team/google/spice/3"):
        with pytest.raises(ModelNotFound, match=f"{unknown} was not found below .*one/{unknown.partition('/')[0]}"):
            below_a_mount(unknown)
    publisher = put(mounts / "one", "Main/team/google/1")  # whose publisher is named as another hub
    assert below_a_mount("team/google/1") == publisher
    with pytest.raises(InvalidHandle):
        below_a_mount("Other/google/spice/2")


@pytest.mark.parametrize("text", ["google/spice/3", "google/nothing", "google/nothing/1", "google/tfjs-model/spice/2"])
def test_what_no_mount_has_is_not_found(mounts: Path, text: str) -> None:
    put(mounts / "one", "google/spice/2")
    put(mounts / "one", "google/tfjs-model/spice/2/default/1")  # above it are directories, and no models
    with pytest.raises(ModelNotFound, match=f"{text} was not found below .*one, .*two"):
        below_a_mount(text)


def test_a_mount_that_cannot_say_is_not_taken_for_one_that_has_not(
    mounts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(mounts / "one", "google/spice/2", latest=True)

    def unreachable(path: Path, name: str) -> bytes:
        raise OSError(errno.EHOSTUNREACH, os.strerror(errno.EHOSTUNREACH), str(path))

    monkeypatch.setattr(os, "getxattr", unreachable)
    for text in ("google/spice/2", "google/spice"):
        with pytest.raises(
            Unavailable, match=f"{text} was not found: .*/google/spice/2 cannot be read: No route to host"
        ):
            below_a_mount(text)


def test_a_hub_that_is_not_mounted_is_told_from_none_at_all(mounts: Path) -> None:
    with pytest.raises(MountFailed, match=r"The hub of https://other\.org/google/spice/2 is not mounted"):
        below_a_mount("https://other.org/google/spice/2")
    (mounts / "mounts").write_text("")
    with pytest.raises(MountFailed, match=r"No hub is mounted, .*; `hubfs mount MOUNTPOINT` does it"):
        below_a_mount("google/spice/2")


def test_a_dead_mount_is_passed_over_and_named_where_nothing_is_found(
    mounts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = mount_table.look
    dead = mounts / "one"
    monkeypatch.setattr(
        mount_table, "look", lambda path, name: mount_table.Answer(errno.ENOTCONN) if path == dead else ask(path, name)
    )
    model = put(mounts / "two", "google/spice/2")
    assert below_a_mount("google/spice/2") == model
    for elsewhere in ("https://tfhub.dev/google/spice/2", "google/spice/3"):
        with pytest.raises(Unavailable, match=f"the daemon of {dead} is gone; `hubfs mount {dead}`"):
            below_a_mount(elsewhere)


@pytest.mark.parametrize("text", ["google", "", "../../etc", "google/.git", "google/sp ice/2"])
def test_what_can_be_neither_is_refused(mounts: Path, text: str) -> None:
    with pytest.raises(InvalidHandle):
        below_a_mount(text)


@pytest.mark.parametrize(
    ("hub", "text", "name"),
    [
        ("https://tfhub.dev", "google/spice/2", "google/spice/2"),
        ("http://h:8/hub", "https://h:8/hub/a/b/1?x=y", "a/b/1"),
        ("http://h:8/hub", "http://h:8/hubs/a/b/1", None),
        ("https://tfhub.dev", "https://tfhub.dev.evil/a/b/1", None),
        ("gs://b/p", "gs://b/p/a/b/1", "a/b/1"),
        ("gs://b/p", "gs://b/a/b/1", None),
    ],
)
def test_a_url_is_one_of_the_hub_or_not(hub: str, text: str, name: str | None) -> None:
    found = names_at(hub).find(text)
    assert (None if found is None else "/".join(map(str, found))) == name


def test_versions_tell_handles_from_names() -> None:
    names = names_at("https://tfhub.dev")
    assert names.find("google/spice/2") == ("google/spice", "2")
    assert names.find("google/tfjs-model/spice/2/default/1") == ("google/tfjs-model/spice/2/default", "1")
    assert names.find("google/spice") == ("google/spice", None)
    assert names.find("google/tfjs-model/spice/2/default") == ("google/tfjs-model/spice/2/default", None)


class TestKaggle:
    """A mount of Kaggle beside the others: its handles have a grammar of their own."""

    NAME = "some_owner/yamnet/tensorFlow2/yamnet"

    @pytest.fixture
    def kaggle(self, mounts: Path) -> Path:
        (mounts / "two/.hubfs/mount.json").write_text(json.dumps({"hub": "kaggle:"}))
        put(mounts / "two", f"{self.NAME}/1")
        put(mounts / "two", f"{self.NAME}/2", latest=True)
        return mounts / "two"

    @pytest.mark.parametrize(
        "text",
        [
            f"{NAME}/1",
            f"kaggle:{NAME}/1",
            f"kaggle://{NAME}/1",
            f"https://www.kaggle.com/models/{NAME}/1",
            f"https://kaggle.com/models/{NAME}/1?tf-hub-format=compressed",
            "https://www.kaggle.com/models/some_owner/yamnet/frameworks/TensorFlow2/variations/yamnet/versions/1",
            f"https://www.kaggle.com/models/{NAME}/1/download",
            f"https://www.kaggle.com/api/v1/models/{NAME}/1/download/saved_model.pb",
        ],
    )
    def test_each_form_of_a_handle_is_found(self, kaggle: Path, text: str) -> None:
        assert below_a_mount(text) == kaggle / self.NAME / "1"

    @pytest.mark.parametrize("text", [NAME, f"https://www.kaggle.com/models/{NAME}", f"kaggle://{NAME}"])
    def test_without_a_version_it_is_the_latest(self, kaggle: Path, text: str) -> None:
        assert below_a_mount(text) == kaggle / self.NAME / "2"

    def test_a_handle_of_another_hub_is_found_there(self, kaggle: Path, mounts: Path) -> None:
        there = put(mounts / "one", "google/spice/2")
        assert below_a_mount("google/spice/2") == there

    def test_a_url_that_names_no_variation_is_no_handle(self, kaggle: Path) -> None:
        with pytest.raises(InvalidHandle, match="no handle of Kaggle"):
            below_a_mount("https://www.kaggle.com/models/google/yamnet")
