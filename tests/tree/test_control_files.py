"""Views in `/.hubfs`: several of one name, with directories in them."""

import pytest

from hubfs.errors import EntryNotFound, NotADirectory
from hubfs.hubs.names import View
from hubfs.hubs.place import Shown
from hubfs.tree.control_files import ControlFiles
from hubfs.tree.node import DIRECTORY, Node, NodeKind


class Shelf(View):
    """Directories of one symlink each, and a file: `books/<name> -> ../../../<name>`, `index`."""

    def __init__(self, *books: str) -> None:
        self.books = books

    def target(self, path: str) -> str | None:
        folder, _, book = path.partition("/")
        return f"../../../{book}" if folder == "books" and book in self.books else None

    def content(self, path: str) -> bytes | None:
        return "\n".join(self.books).encode() if path == "index" else None

    def is_folder(self, path: str) -> bool:
        return path == "books"

    def shown(self, path: str) -> Shown:
        return Shown((), links=self.books) if path == "books" else Shown(["books"], texts=["index"])


class Label(View):
    """No directories, and no files. It lists nothing."""

    def target(self, path: str) -> str | None:
        return f"../../{path}" if path == "label" else None


@pytest.fixture
def controls() -> ControlFiles:
    return ControlFiles({"version": lambda: b"1\n"}, {"shelf": [Label(), Shelf("one"), Shelf("one", "other")]})


def test_a_view_is_asked_for_paths_at_any_depth(controls: ControlFiles) -> None:
    assert controls.stat(("shelf",)) == controls.stat(("shelf", "books")) == DIRECTORY
    assert controls.stat(("shelf", "books", "one")) == Node(NodeKind.SYMLINK, len("../../../one"))
    assert controls.target(("shelf", "books", "other")) == "../../../other"
    assert controls.target(("shelf", "label")) == "../../label"
    assert controls.stat(("shelf", "index")) == Node(NodeKind.CONTROL, 3)
    assert controls.content(("shelf", "index")) == b"one"


def test_the_directories_of_views_list_what_either_shows(controls: ControlFiles) -> None:
    assert controls.list(("shelf",)) == [("books", NodeKind.DIRECTORY), ("index", NodeKind.CONTROL)]
    assert controls.list(("shelf", "books")) == [("one", NodeKind.SYMLINK), ("other", NodeKind.SYMLINK)]
    assert controls.list(()) == [("shelf", NodeKind.DIRECTORY), ("version", NodeKind.CONTROL)]
    for file in (("shelf", "index"), ("shelf", "books", "one"), ("version",)):
        with pytest.raises(NotADirectory):
            controls.list(file)


@pytest.mark.parametrize("path", [("shelf", "other"), ("shelf", "books", "third"), ("shelf", "books", "one", "more")])
def test_what_no_view_has_does_not_exist(controls: ControlFiles, path: tuple[str, ...]) -> None:
    assert controls.target(path) is None
    with pytest.raises(EntryNotFound):
        controls.stat(path)


def test_neither_a_view_nor_a_directory_is_a_symlink(controls: ControlFiles) -> None:
    for path in ((), ("shelf",), ("shelf", "books"), ("version",)):
        assert controls.target(path) is None
