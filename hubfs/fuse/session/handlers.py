"""Every request but INIT and INTERRUPT, answered out of the tree."""

import errno
import threading
from collections.abc import Callable, Mapping
from hashlib import sha256

from hubfs.errors import NotFound, ReadOnly, Stale
from hubfs.fuse.answers import NAME_MAX_BYTES, STATFS_BYTES, Answers, Opened, Pages
from hubfs.fuse.attributes import BLOCK_BYTES, inode
from hubfs.fuse.errnos import told
from hubfs.fuse.mounting import Timeouts
from hubfs.fuse.passthrough import Passthrough
from hubfs.fuse.session import protocol
from hubfs.fuse.session.directories import Directories
from hubfs.fuse.session.left_open import LeftOpen, goes_on_with, text_of
from hubfs.fuse.session.nodes import NodeTable
from hubfs.fuse.session.protocol import Opcode, Open
from hubfs.fuse.session.replies import NO_ENTRY, Replies, directory_inode, dirent, dirent_bytes, told_of
from hubfs.fuse.session.untold import Untold
from hubfs.tree.node import Node, NodeKind
from hubfs.tree.open_file import OpenFile

Handler = Callable[[int, memoryview], bytes | int | None]
"""Answers a request for a node, with data or an errno; None: there is no reply. Raises `HubfsError`, `Malformed`."""


class Malformed(Exception):
    """No kernel sends this."""


class Handlers:
    """Answers requests by the answers of the tree, and by what the kernel was told of.

    A reply may be lost: `undo` takes back what it would have told the kernel of.
    """

    def __init__(
        self,
        answers: Answers,
        nodes: NodeTable,
        timeouts: Timeouts,
        *,
        passthrough: Passthrough | None,
        forget_attributes: Callable[[int], None],
        knows: Callable[[int], bool],
        over: threading.Event,
    ) -> None:
        """`knows` asks the kernel whether it knows a node; `over` is set at the end of the session."""
        self._answers = answers
        self._nodes = nodes
        self._replies = Replies(answers.owner, timeouts)
        self._passthrough = passthrough
        self._forget_attributes = forget_attributes
        self._directories = Directories(answers)
        self.left_open = LeftOpen(nodes, answers.hold)
        self.untold = Untold(nodes, knows, self._may_be_gone, over)
        self.table: Mapping[int, Handler] = {
            Opcode.LOOKUP: self._lookup,
            Opcode.FORGET: self._forget,
            Opcode.BATCH_FORGET: self._batch_forget,
            Opcode.GETATTR: self._getattr,
            Opcode.STATX: self._statx,
            Opcode.READLINK: self._readlink,
            Opcode.OPEN: self._open,
            Opcode.READ: self._read,
            Opcode.RELEASE: self._release,
            Opcode.OPENDIR: self._opendir,
            Opcode.READDIR: self._readdir,
            Opcode.READDIRPLUS: self._readdirplus,
            Opcode.RELEASEDIR: self._releasedir,
            Opcode.STATFS: self._statfs,
            Opcode.ACCESS: self._access,
            Opcode.GETXATTR: self._getxattr,
            Opcode.LISTXATTR: self._listxattr,
            **dict.fromkeys(_WRITES, _refuse),
        }

    @property
    def nothing(self) -> bytes:
        """The reply to a lookup of a name that is not there."""
        return self._replies.nothing

    def undo(self, opcode: int, node_id: int, reply: bytes) -> None:
        """The kernel has not taken the reply: nobody will give back what it told of."""
        match opcode:
            case Opcode.LOOKUP:
                self._nodes.forget(protocol.ENTRY_OUT.unpack(reply)[0], 1)
            case Opcode.READDIRPLUS:
                for told_id in told_of(reply):
                    self._nodes.forget(told_id, 1)
            case Opcode.OPEN:
                self._end(node_id, protocol.OPEN_OUT.unpack(reply)[0])
            case Opcode.OPENDIR:
                self._directories.undo(protocol.OPEN_OUT.unpack(reply)[0])

    def path_of(self, node_id: int) -> str:
        """The absolute path of a node. Raises `Stale` for one that the kernel was not told of."""
        return self._nodes[node_id].path or "/"

    def subject(self, opcode: int, node_id: int, body: memoryview) -> str:
        """What a request is about, for the log. Raises nothing for a request that failed with a `HubfsError`."""
        try:
            return self._looked_up(node_id, body) if opcode == Opcode.LOOKUP else self.path_of(node_id)
        except Stale:
            return f"node {node_id}"

    def _looked_up(self, node_id: int, body: memoryview) -> str:
        return f"{self._nodes[node_id].path}/{_name(body)}"

    def _lookup(self, node_id: int, body: memoryview) -> bytes:
        path = self._looked_up(node_id, body)
        try:
            node = self._answers.stat(path)
        except NotFound as error:
            told(error, "lookup", path)
            return self._replies.nothing
        return self._replies.entry(self._nodes.look_up(path, node.source), path, node)

    def _forget(self, node_id: int, body: memoryview) -> None:
        self._given_back(node_id, protocol.FORGET_IN.unpack_from(body)[0])

    def _batch_forget(self, _node_id: int, body: memoryview) -> None:
        first, one = protocol.BATCH_FORGET_IN, protocol.FORGET_ONE
        number, _ = first.unpack_from(body)
        end = first.size + min(number, (len(body) - first.size) // one.size) * one.size
        for node_id, lookups in one.iter_unpack(body[first.size : end]):
            self._given_back(node_id, lookups)

    def _given_back(self, node_id: int, lookups: int) -> None:
        self._nodes.forget(node_id, lookups)
        self.untold.given_back(node_id)
        self._may_be_gone(node_id)

    def _may_be_gone(self, node_id: int) -> None:
        self.left_open.closed(node_id)
        if self._passthrough is not None and node_id not in self._nodes:
            self._passthrough.forgotten(node_id)

    def _getattr(self, node_id: int, _body: memoryview) -> bytes:
        return self._replies.attributes(*self._attributes(node_id))

    def _statx(self, node_id: int, _body: memoryview) -> bytes:
        return self._replies.extended(*self._attributes(node_id))

    def _attributes(self, node_id: int) -> tuple[str, Node]:
        """Raises `Stale` for a file that was replaced: the kernel looks the name up anew, and finds another node."""
        path = self.path_of(node_id)
        node = self._answers.stat(path)
        if node.kind is NodeKind.FILE and not self._nodes.is_of(node_id, node.source):
            raise Stale(f"{path} is another file than it was")
        return path, node

    def dropped(self, path: str) -> None:
        """What was found of the model at the path holds no longer: the kernel is to ask for the sizes of its files.

        By any thread: FUSE_NOTIFY_INVAL_INODE takes no lock in the kernel where it leaves pages alone. Files that are
        open keep what the kernel knows of them, until they are opened again.
        """
        for node_id in self._nodes.closed_below(path):
            self._forget_attributes(node_id)

    def _readlink(self, node_id: int, _body: memoryview) -> bytes:
        target, moved = self._answers.readlink(self.path_of(node_id))
        if moved:
            self._forget_attributes(node_id)
        return target

    def _open(self, node_id: int, body: memoryview) -> bytes:
        flags, _ = protocol.OPEN_IN.unpack_from(body)
        path = self.path_of(node_id)
        try:
            opened = self._answers.open(path, flags, node_id)
            try:
                self._must_be_the_same(node_id, opened.file)
                backing_id = 0 if self._passthrough is None else self._passthrough.opened(node_id, opened.file)
            except Stale:
                self._answers.files.remove(opened.handle)
                raise
        except Stale:
            # The kernel looks the name up anew, and opens again: it finds a node of its own, with the right size, and
            # what is open and mapped of the old one stays as it is.
            self._nodes.replace(node_id)
            raise
        self._nodes.opened(node_id, backing_id, text_of(opened.file) if opened.direct else 0)
        if backing_id:
            return protocol.OPEN_OUT.pack(opened.handle, Open.PASSTHROUGH | Open.NOFLUSH, backing_id)
        return protocol.OPEN_OUT.pack(opened.handle, self._how(node_id, opened) | Open.NOFLUSH, 0)

    def _how(self, node_id: int, opened: Opened) -> int:
        """As `Opened.keeps_pages`, but an earlier process may have had the node."""
        if opened.direct:
            return Open.DIRECT_IO
        same = opened.pages is Pages.SAME or self._nodes.has_pages_of(node_id, opened.file.pages_of)
        return Open.KEEP_CACHE if same else 0

    def _read(self, node_id: int, body: memoryview) -> bytes:
        handle, offset_bytes, size_bytes, *_ = protocol.READ_IN.unpack_from(body)
        file = self._answers.files.get(handle) or self._left_open(node_id, handle)
        return file.blob.read_at(offset_bytes, size_bytes)

    def _left_open(self, node_id: int, handle: int) -> OpenFile:
        """The file of a handle that an earlier process gave out. Nobody reads it before it is known to be the same."""
        file = self._answers.reopened(self.path_of(node_id))
        if file.pages_of is None:
            file = goes_on_with(file, self._nodes.text_left(node_id, text_of(file)))
        try:
            self._must_be_the_same(node_id, file)
        except Stale:
            file.release()
            raise
        return self._answers.files.adopt(handle, file)

    def _must_be_the_same(self, node_id: int, file: OpenFile) -> None:
        """Raises `Stale` for a file that is another one than the kernel knows by the node, by its size or its bytes.

        An earlier process may have opened it: then nothing but the table tells of the bytes. A control file is another
        one each time.
        """
        if file.pages_of is None:
            return
        told, contents = self._nodes.is_of(node_id, file.pages_of), _contents_of(file)
        if not (told and self._nodes.has_contents(node_id, contents)):
            raise Stale(f"{self.path_of(node_id)} is another file than it was: open it again")

    def _release(self, node_id: int, body: memoryview) -> bytes:
        self._end(node_id, protocol.RELEASE_IN.unpack_from(body)[0])
        return b""

    def _end(self, node_id: int, handle: int) -> None:
        self._answers.files.remove(handle)
        self._nodes.released(node_id)
        self.left_open.closed(node_id)
        if self._passthrough is not None:
            self._passthrough.released(node_id)

    def _opendir(self, node_id: int, _body: memoryview) -> bytes:
        return protocol.OPEN_OUT.pack(*self._directories.open(node_id, self.path_of(node_id)), 0)

    def _readdir(self, node_id: int, body: memoryview) -> bytes:
        return self._listed(node_id, body, with_attributes=False)

    def _readdirplus(self, node_id: int, body: memoryview) -> bytes:
        return self._listed(node_id, body, with_attributes=True)

    def _listed(self, node_id: int, body: memoryview, *, with_attributes: bool) -> bytes:
        """As many entries as fit. An offset is the number of entries before it, of the listing that offset 0 made."""
        handle, offset, size_bytes, *_ = protocol.READ_IN.unpack_from(body)
        directory = self._nodes[node_id].path
        listing = self._directories.listing(node_id, directory or "/", handle, anew=not offset)
        chunks: list[bytes] = []
        left_bytes = size_bytes
        for at in range(offset, len(listing) + 2):
            if at < len(_DOTS):
                name, kind, node, number = _DOTS[at], NodeKind.DIRECTORY, None, directory_inode(directory)
                if at:
                    number = directory_inode(directory.rpartition("/")[0])
                path = ""
            else:
                listed = listing[at - len(_DOTS)]
                name, kind, node = listed.name.encode("utf-8", "surrogateescape"), listed.kind, listed.node
                path = f"{directory}/{listed.name}"
                number = inode(path, listed.place)
            left_bytes -= dirent_bytes(name) + (len(NO_ENTRY) if with_attributes else 0)
            if left_bytes < 0:
                break
            if with_attributes and node is not None:
                chunks.append(self._replies.entry(self._nodes.look_up(path, node.source), path, node))
            elif with_attributes:
                chunks.append(NO_ENTRY)
            chunks.append(dirent(name, number, kind, at + 1))
        return b"".join(chunks)

    def _releasedir(self, _node_id: int, body: memoryview) -> bytes:
        self._directories.close(protocol.RELEASE_IN.unpack_from(body)[0])
        return b""

    def _statfs(self, _node_id: int, _body: memoryview) -> bytes:
        room = self._answers.room()
        return protocol.KSTATFS.pack(
            *(room.blocks, room.free_blocks, 0, 0, 0, BLOCK_BYTES, NAME_MAX_BYTES, STATFS_BYTES, 0)
        )

    def _access(self, node_id: int, body: memoryview) -> bytes:
        self._answers.access(self.path_of(node_id), protocol.ACCESS_IN.unpack_from(body)[0])
        return b""

    def _getxattr(self, node_id: int, body: memoryview) -> bytes | int:
        size_bytes, _ = protocol.GETXATTR_IN.unpack_from(body)
        name = _text(body[protocol.GETXATTR_IN.size :])
        return _sized(self._answers.attribute(self.path_of(node_id), name), size_bytes)

    def _listxattr(self, node_id: int, body: memoryview) -> bytes | int:
        """None: a copy that took them along (`cp -a`, `rsync -X`) would go on claiming `cached_bytes` or an `error`."""
        self.path_of(node_id)
        return _sized(b"", protocol.GETXATTR_IN.unpack_from(body)[0])


def _contents_of(file: OpenFile) -> int:
    """What stands for the bytes of a file, in 64 bits."""
    name = f"{file.blob.size_bytes} {file.blob.key}".encode("utf-8", "surrogateescape")
    return int.from_bytes(sha256(name).digest()[:8], "little") or 1


_DOTS = (b".", b"..")

_WRITES = (
    *(Opcode.SETATTR, Opcode.SYMLINK, Opcode.MKNOD, Opcode.MKDIR, Opcode.UNLINK, Opcode.RMDIR, Opcode.RENAME),
    *(Opcode.LINK, Opcode.WRITE, Opcode.SETXATTR, Opcode.REMOVEXATTR, Opcode.CREATE, Opcode.FALLOCATE),
    *(Opcode.RENAME2, Opcode.COPY_FILE_RANGE, Opcode.COPY_FILE_RANGE_64, Opcode.TMPFILE),
)


def _refuse(_node_id: int, _body: memoryview) -> bytes:
    raise ReadOnly("a hub is read-only")


def _text(body: memoryview) -> str:
    text, end, _ = bytes(body).partition(b"\0")
    if not end:
        raise Malformed("a name without an end")
    return text.decode("utf-8", "surrogateescape")


def _name(body: memoryview) -> str:
    name = _text(body)
    if name in {"", ".", ".."} or "/" in name:
        raise Malformed(f"{name!r} is no name")
    return name


def _sized(value: bytes, size_bytes: int) -> bytes | int:
    """The reply to a question for attributes: how long they are, if there is no room for them; else they."""
    if not size_bytes:
        return protocol.GETXATTR_OUT.pack(len(value), 0)
    return errno.ERANGE if len(value) > size_bytes else value
