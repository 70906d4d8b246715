import pytest

from hubfs.errors import EntryNotFound, InvalidHandle
from hubfs.hubs.huggingface import names
from hubfs.hubs.huggingface.named import HuggingFaceNames
from hubfs.hubs.names import names_at
from hubfs.hubs.place import Alias, Folder, FolderOrAlias, InModel
from hubfs.model_id import ModelId
from tests.support.known import known

REPO, COMMIT, OTHER = "BAAI/bge-m3", "5a" * 20, "0f" * 20
MODEL = ModelId(REPO, COMMIT)


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("/", Folder(())),
        ("/BAAI", FolderOrAlias(Folder(("BAAI",)), Alias("BAAI@main"))),
        ("/01-ai", Folder(("01-ai",))),
        ("/datasets", Folder(("datasets",))),
        ("/datasets/squad", FolderOrAlias(Folder(("datasets", "squad")), Alias("datasets/squad@main"))),
        ("/datasets/01-ai", Folder(("datasets", "01-ai"))),
        (f"/{REPO}", Alias(f"{REPO}@main")),
        (f"/{REPO}@v1.0", Alias(f"{REPO}@v1.0")),
        (f"/{REPO}@5a5a5a5", Alias(f"{REPO}@5a5a5a5")),
        (f"/{REPO}@feature%2Fx", Alias(f"{REPO}@feature%2Fx")),
        (f"/{REPO}@feature%2fx", Alias(f"{REPO}@feature%2Fx")),
        (f"/{REPO}@refs%2Fpr%2F1", Alias(f"{REPO}@refs%2Fpr%2F1")),
        (f"/{REPO}@refs/pr/1", Alias(f"{REPO}@refs%2Fpr%2F1", "../../")),
        (f"/{REPO}@refs", Folder(("BAAI", "bge-m3@refs"))),
        (f"/{REPO}@refs/convert", Folder(("BAAI", "bge-m3@refs", "convert"))),
        (f"/{REPO}@{COMMIT}", InModel(MODEL, "")),
        (f"/{REPO}@{COMMIT}/onnx/a@b", InModel(MODEL, "onnx/a@b")),
        ("/gpt2@main", Alias("gpt2@main")),
        (f"/datasets/allenai/c4@{COMMIT}/en", InModel(ModelId("datasets/allenai/c4", COMMIT), "en")),
        ("/datasets/squad@main", Alias("datasets/squad@main")),
    ],
)
def test_a_path_is_a_place_by_its_grammar(path: str, place: object) -> None:
    assert names.place_of(path, "01-ai") == place
    assert names_at("hf:01-ai").place(path) == place


@pytest.mark.parametrize(
    "path",
    [
        "/.git",
        "/spaces/a/b",
        "/a--b",
        "/a..b",
        "/x.git",
        "/-x",
        f"/{'x' * 97}",
        f"/{REPO}/config.json",
        f"/{REPO}@v1/config.json",
        f"/{REPO}@",
        f"/{REPO}@a b",
        f"/{REPO}@..",
        f"/{REPO}@a%00b",
        f"/{REPO}@-x",
        f"/{REPO}@{'x' * 201}",
        f"/{REPO}@refs/heads/main",
        f"/{REPO}@refs/pr/1/config.json",
        "/BAAI/b ge",
        "/BAAI/\udc80",
    ],
)
def test_what_cannot_be_does_not_exist(path: str) -> None:
    with pytest.raises(EntryNotFound):
        names.place_of(path)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (REPO, (REPO, None)),
        (f"hf:{REPO}", (REPO, None)),
        (f"hf://{REPO}@v1/config.json", (f"{REPO}@v1", None)),
        (f"{REPO}@{COMMIT}", (REPO, COMMIT)),
        (str(MODEL), (REPO, COMMIT)),
        (f"{REPO}@refs/pr/1", (f"{REPO}@refs%2Fpr%2F1", None)),
        (f"https://huggingface.co/{REPO}", (REPO, None)),
        (f"https://huggingface.co/{REPO}/tree/feature%2Fx/onnx", (f"{REPO}@feature%2Fx", None)),
        (f"https://huggingface.co/{REPO}/blob/{COMMIT}/config.json", (REPO, COMMIT)),
        (f"https://huggingface.co/{REPO}/resolve/refs/pr/3/a.bin?download=true", (f"{REPO}@refs%2Fpr%2F3", None)),
        (f"https://huggingface.co/{REPO}/commit/{COMMIT}", (REPO, COMMIT)),
        (f"https://hf.co/{REPO}", (REPO, None)),
        ("https://huggingface.co/datasets/allenai/c4/tree/main", ("datasets/allenai/c4@main", None)),
        ("hf:gpt2", ("gpt2@main", None)),
        ("https://tfhub.dev/google/spice/2", None),
    ],
)
def test_every_form_of_a_handle_names_the_model(text: str, found: object) -> None:
    assert names.find(text) == found
    assert names_at("hf:").find(text) == found


@pytest.mark.parametrize(
    "text", ["", "hf:", "hf:spaces/a", "a/b/c", f"{REPO}@a b", f"{REPO}@refs", "https://huggingface.co/spaces/a/b"]
)
def test_what_names_no_repository_is_refused(text: str) -> None:
    with pytest.raises(InvalidHandle):
        names.find(text)


@pytest.mark.parametrize(
    ("alias", "repo", "target"),
    [
        (f"{REPO}@main", REPO, f"bge-m3@{COMMIT}"),
        (f"{REPO}@main", "BAAI/other", f"other@{COMMIT}"),
        ("former/x@v1", REPO, f"../{REPO}@{COMMIT}"),
        ("gpt2@main", "openai-community/gpt2", f"openai-community/gpt2@{COMMIT}"),
        ("datasets/squad@main", "datasets/rajpurkar/squad", f"rajpurkar/squad@{COMMIT}"),
        ("datasets/a/b@main", "datasets/c/d", f"../../datasets/c/d@{COMMIT}"),
    ],
)
def test_an_alias_leads_to_the_name_that_the_hub_gives(alias: str, repo: str, target: str) -> None:
    assert names.target(alias, repo, COMMIT) == target
    assert names.parse(f"{alias}/{target}") == ModelId(repo, COMMIT), "what is kept of the answer is read again"


@pytest.mark.parametrize("answer", ["..", "../../../etc/passwd", "x", f"../../../x@{COMMIT}", f"bge-m3@{COMMIT[1:]}"])
def test_an_answer_that_leads_elsewhere_is_none(answer: str) -> None:
    with pytest.raises(InvalidHandle):
        names.parse(f"{REPO}@main/{answer}")


def test_a_namespace_shows_repositories_as_links_and_commits_as_folders() -> None:
    told = known(
        known_children=lambda folder: {"bge-m3"} if folder == "BAAI" else {"BAAI"},
        known_versions=lambda name: {COMMIT} if name == REPO else set(),
        children=lambda folder: ["bge-m3", "bge-large"] if folder == "BAAI" else None,
    )
    shown = HuggingFaceNames().shown(("BAAI",), told)
    assert (sorted(shown.folders), sorted(shown.links)) == ([f"bge-m3@{COMMIT}"], ["bge-large", "bge-m3"])
    assert sorted(HuggingFaceNames().shown((), told).folders) == ["BAAI"]
    assert not HuggingFaceNames().shown(("BAAI", "bge-m3@refs"), told).folders
