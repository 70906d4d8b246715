"""Writes the inputs that fuzzing begins with:  python -m tests.fuzz.seeds

They are made by hubfs's own writers and the builders of the tests, and always the same. Inputs that showed a bug lie
beside them in `corpus/<target>/`, under names that say which; they are not touched.
"""

import json
import struct
import tarfile
import zlib
from collections.abc import Mapping
from typing import Any

from hubfs.blobs.checksums import Checksum, crc32c
from hubfs.blobs.sparse import SparseMap
from hubfs.blobs.stamp import Stamp
from hubfs.cache.block_cache import CacheKey
from hubfs.cache.disk import blocks
from hubfs.cache.shared.layout import encode
from hubfs.formats.gzip.index import Checkpoint, GzipIndex, pack_window
from hubfs.formats.index_file import IndexedMember, IndexFile
from hubfs.formats.inflating.protocol import _FORMAT, SLOT_BYTES, Kind
from hubfs.formats.tar.walk import members
from hubfs.model_id import ModelId
from hubfs.sources.archive.index import ArchiveIndex
from hubfs.sources.files import Manifest, RemoteFile
from hubfs.sources.source import Form
from tests.fuzz.fuzzing import CORPUS
from tests.fuzz.targets import fuse_session
from tests.fuzz.targets.block_map import SEED
from tests.fuzz.targets.index_file import archive
from tests.fuzz.targets.shared_block import KEY
from tests.support.archives import END_MARKER, gzipped, header, member, model_files, padded, pax_record, tar_of
from tests.support.saved_models import delimited, saved_model_pb

SMALL = {"assets/vocab.txt": b"a b c", "saved_model.pb": b"graph" * 30, "empty": b""}
LONG = {"a" * 120 + "/" + "b" * 200: b"long"}

Inputs = Mapping[str, bytes]

NESTED = b"[" * 3000
"""JSON too deep for the interpreter's stack."""


_MAP_0_0 = (
    pax_record(b"GNU.sparse.numblocks", b"1")
    + pax_record(b"GNU.sparse.offset", b"3")
    + pax_record(b"GNU.sparse.numbytes", b"4")
)
_MAP_0_1 = pax_record(b"GNU.sparse.numblocks", b"1") + pax_record(b"GNU.sparse.map", b"3,4")
_MAP_1_0 = (
    pax_record(b"GNU.sparse.major", b"1")
    + pax_record(b"GNU.sparse.minor", b"0")
    + pax_record(b"GNU.sparse.realsize", b"9")
)


def _sparse(records: bytes, data: bytes) -> bytes:
    return (
        member(b"header", pax_record(b"GNU.sparse.name", b"a") + records, kind=b"x") + member(b"b", data) + END_MARKER
    )


def tar() -> Inputs:
    old = member(b"old/", b"") + member(b"old/file", b"x" * 600, magic=b"")
    records = pax_record(b"path", b"by-pax") + pax_record(b"size", b"3") + pax_record(b"mtime", b"1.5")
    pax = member(b"header", records, kind=b"x") + header(b"short", size=0) + padded(b"abc")
    everywhere = member(b"header", pax_record(b"comment", b"c"), kind=b"g") + member(b"a", b"1")
    long = member(b"././@LongLink", b"n" * 150 + b"\0", kind=b"L", magic=b"ustar  \0") + member(b"n" * 100, b"data")
    return {
        "ustar": tar_of(SMALL, format=tarfile.USTAR_FORMAT),
        "ustar-prefix": tar_of({"p" * 90 + "/" + "q" * 90: b"1"}, format=tarfile.USTAR_FORMAT),
        "gnu-long-names": tar_of(LONG, format=tarfile.GNU_FORMAT),
        "pax-long-names": tar_of(LONG, format=tarfile.PAX_FORMAT),
        "dot-slash": tar_of(SMALL, prefix="./"),
        "no-directories": tar_of(SMALL, directories=False),
        "v7": old + END_MARKER,
        "pax-records": pax + END_MARKER,
        "pax-global": everywhere + END_MARKER,
        "gnu-long-name": long + END_MARKER,
        "no-end-marker": member(b"a", b"1"),
        "two-archives": member(b"a", b"1") + END_MARKER + member(b"b", b"2") + END_MARKER,
        "symlink": header(b"link", kind=b"2", link=b"a") + END_MARKER,
        "above-the-root": member(b"../a", b"1") + END_MARKER,
        "sparse": member(b"h", pax_record(b"GNU.sparse.major", b"1"), kind=b"x") + member(b"a", b"1") + END_MARKER,
        "sparse-0.0": _sparse(_MAP_0_0 + pax_record(b"GNU.sparse.size", b"9"), b"data"),
        "sparse-0.1": _sparse(_MAP_0_1 + pax_record(b"GNU.sparse.size", b"9"), b"data"),
        "sparse-1.0": _sparse(_MAP_1_0, padded(b"2\n3\n4\n9\n0\n") + b"data"),
        "sparse-gnu": header(
            b"a", kind=b"S", size=4, magic=b"ustar  \0", sparse=b"%011o\0%011o\0" % (3, 4), real_size=9
        )
        + padded(b"data")
        + END_MARKER,
        "no-utf-8": member(b"na\xefve/\xff", b"1") + END_MARKER,
        "twice": member(b"a", b"1") + member(b"b", b"2") + member(b"./a", b"three") + END_MARKER,
        "base-256-size": header(b"big", size=(1 << 95 | 1).to_bytes(12, "big")) + padded(b"1") + END_MARKER,
    }


def gzip_stream() -> Inputs:
    text, raw = b"token 1\ntoken 2\n" * 40, bytes(range(256))
    stored = zlib.compressobj(0, zlib.DEFLATED, 31)
    fixed = zlib.compressobj(6, zlib.DEFLATED, 31, 8, zlib.Z_FIXED)
    return {
        "text": gzipped(text),
        "stored": stored.compress(raw) + stored.flush(),
        "fixed-codes": fixed.compress(text) + fixed.flush(),
        "all-fields": gzipped(raw, extra=b"extra", name=b"name", comment=b"comment", header_checksum=True),
        "two-members": gzipped(text) + gzipped(raw),
        "padded": gzipped(text) + bytes(20),
        "followed": gzipped(text) + b"more",
        "empty-member": gzipped(b""),
        "plain": b"not gzip at all",
        "zeros": gzipped(bytes(1 << 20), level=9),
        "cut": gzipped(text)[:-9],
    }


def span() -> Inputs:
    window, text = b"the window " * 30, b"the window and token 1\ntoken 2\n" * 20
    deflater = zlib.compressobj(6, zlib.DEFLATED, -15, zdict=window)
    behind = deflater.compress(text) + deflater.flush()
    plain = gzipped(text)
    shifted = (int.from_bytes(behind, "little") << 3).to_bytes(len(behind) + 1, "little")
    head = struct.Struct("<BHH")
    return {
        "first-bit-0": head.pack(0, len(text), len(window)) + window + behind,
        "first-bit-3": head.pack(3, len(text), len(window)) + window + shifted,
        "over-members": head.pack(0, 2 * len(text), 0) + plain[10:] + plain,
        "padding-between": head.pack(0, len(text) + 5, 0) + plain[10:] + bytes(9) + gzipped(b"after"),
        "first-span": head.pack(0, len(text), 0) + plain,
    }


def _gzip_index() -> GzipIndex:
    packed, tar = archive(), tar_of(model_files(variables_bytes=3000))
    return GzipIndex(len(packed), len(tar), packed[-8:], (Checkpoint(0, 0, crc32c(tar)),))


def gzip_index() -> Inputs:
    window = pack_window(b"what came before " * 20)
    two = GzipIndex(90_000, 200_000, b"trailer!", (Checkpoint(0, 0, 1), Checkpoint(803, 99_000, 2, window)))
    nothing = GzipIndex(20, 0, bytes(8), (Checkpoint(0, 0, 0),))
    return {"one-span": _gzip_index().to_bytes(), "window": two.to_bytes(), "no-output": nothing.to_bytes()}


def _members() -> tuple[IndexedMember, ...]:
    found = []
    for one in members([tar_of(model_files(variables_bytes=3000))]):
        place = 0 if one.is_directory else one.offset_bytes
        found.append(IndexedMember(one.path, one.is_directory, one.size_bytes, place))
    return tuple(found)


def _holes() -> IndexedMember:
    sparse = SparseMap(1 << 40, ((0, 100), (5000, 3)))
    return IndexedMember("holes", is_directory=False, size_bytes=1 << 40, offset_bytes=512, sparse=sparse)


def index_file() -> Inputs:
    tar = tar_of(model_files(variables_bytes=3000))
    return {
        "gzip": IndexFile(len(archive()), _members(), _gzip_index()).to_bytes(),
        "holes": IndexFile(len(archive()), (*_members(), _holes()), _gzip_index()).to_bytes(),
        "plain-tar": IndexFile(len(tar), _members(), None).to_bytes(),
        "no-members": IndexFile(5000, (), None).to_bytes(),
    }


def block_map_() -> Inputs:
    records = [blocks._record(SEED, index, size, 7 * size) for index, size in enumerate((1 << 20, 1 << 20, 500))]
    whole = blocks._HEADER + b"".join(records)
    return {
        "three-blocks": whole,
        "a-hole": blocks._HEADER + records[0] + bytes(12) + records[2],
        "torn": whole[:-5],
        "another-place": blocks._HEADER + records[1] + records[0],
        "header-only": blocks._HEADER,
        "empty": b"",
    }


def shared_block() -> Inputs:
    full = encode(KEY, {0: b"abc", 3: b"de"})
    last = encode(KEY, {9: b"short"})
    other = encode(CacheKey(KEY.model, "other"), {0: b"abc"})
    assert full is not None
    assert last is not None
    assert other is not None
    name = f"blocks/{KEY.model}/0123456789abcdef01234567/000001.ff".encode()
    return {"two-blocks": full, "last-block": last, "of-another-file": other, "a-name": name}


_HANDLE = ModelId("google/spice", "2")


def model_index() -> Inputs:
    members = (
        IndexedMember("v", is_directory=True, size_bytes=0, offset_bytes=0),
        IndexedMember("v/data", is_directory=False, size_bytes=100, offset_bytes=512),
        IndexedMember("pb", is_directory=False, size_bytes=5, offset_bytes=1024),
    )
    stamp = Stamp(1_600_000_000, '"v1"')
    packed = ArchiveIndex(_HANDLE, "https://hub.example/google/spice/2", "0123", members, stamp).to_json()
    unused: Any = None  # nothing is asked for
    crc32c_of = Checksum("crc32c", "00003039")
    objects = {
        path: RemoteFile(5, f"gs://bucket/hub/{path}#17", unused, crc32c_of, Stamp(5, "17"))
        for path in ("saved_model.pb", "v/data")
    }
    bucket = Manifest("gs://bucket/hub", Form.UNCOMPRESSED, objects, ["assets"])
    hosted = Manifest(
        "https://hub.example/google/spice/2",
        Form.FILES,
        {"model.json": RemoteFile(10, "key", unused), "shard": RemoteFile(1000, "other", unused, stamp=stamp)},
    )
    shared = json.dumps({"saved_s": 1.5, "index": packed})
    return {
        "archive": json.dumps(packed).encode(),
        "bucket": json.dumps(bucket.to_json(_HANDLE)).encode(),
        "files": json.dumps(hosted.to_json(_HANDLE)).encode(),
        "shared": shared.encode(),
        "no-object": b"[1, 2]",
        "nested": NESTED,
        "nested-within": b'{"saved_s": 1.5, "index": %b}' % NESTED,
        "infinite": shared.replace("1.5", "1" + 400 * "0").encode(),
        "empty": b"",
    }


def protobuf() -> Inputs:
    asset = delimited(6, delimited(2, b"vocab.txt"))
    return {
        "saved-model": saved_model_pb(assets=["vocab.txt"]),
        "asset-and-saver": b"\x08\x01" + delimited(2, asset + delimited(3, b"saver")),
        "all-wire-types": b"\x08\x96\x01\x11" + bytes(8) + b"\x1a\x03abc\x25" + bytes(4),
        "too-long": b"\x1a\x7fabc",
        "endless-number": b"\x08" + b"\xff" * 12,
    }


def handle() -> Inputs:
    texts = {
        "model": "google/spice/2",
        "deep": "tensorflow/bert/uncased/L-12/1/assets/vocab.txt",
        "lite": "google/lite-model/a/1/model.tflite",
        "numbers-inside": "google/tfjs-model/spice/2/default/1/model.json",
        "latest": "google/spice/latest",
        "documentation": "google/spice/README.md",
        "collection": "google/collection/sounds/google_spice_2",
        "control": ".hubfs/status.json",
        "hidden": ".git/config",
        "above": "google/../../etc/passwd",
        "many-numbers": "google/tfjs-model/a" + "/1" * 40,
    }
    return {name: text.encode() for name, text in texts.items()}


def catalogue() -> Inputs:
    spice = {"kind": "Module", "handle": "google/spice/2", "documentation": "# Spice\n"}
    sounds = {"kind": "Collection", "handle": "google/collection/sounds", "members": ["google/spice", "google/a/1"]}
    lines = "Module\tgoogle/spice/2\n# comment\nPublisher\tgoogle\nTfjs\tgoogle/tfjs-model/a/1/b/1\n"
    document = "# Collection google/sounds/1\n[spice](https://tfhub.dev/google/spice/2), [a](spice.md)\n"
    document += "```\n[no](/x/y/1)\n"
    return {
        "lines": lines.encode(),
        "json-lines": "\n".join(map(json.dumps, [spice, sounds])).encode(),
        "twice": b"Lite\ta/lite-model/b/1\nPlaceholder\ta/b/1\nLite\ta/lite-model/b/1\n",
        "document": b"# Module google/spice/2\nFinds pitches.\n",
        "document-of-collection": document.encode(),
        "nested": b'{"kind": ' + NESTED,
        "deep-handle": b"Module\tgoogle" + b"/a" * 2500 + b"/1\n",
        "document-of-lite-model": "# Lite google/spi\u200cce/1\n".encode(),
    }


def tfjs_manifest() -> Inputs:
    weights = [{"shape": [2], "dtype": "float32"}]
    groups = [{"paths": ["group1-shard1of2.bin", "group1-shard2of2.bin"], "weights": weights}]
    return {
        "layers": json.dumps({"format": "layers-model", "modelTopology": {}, "weightsManifest": groups}).encode(),
        "no-weights": b'{"modelTopology": {}}',
        "in-folders": b'{"weightsManifest": [{"paths": ["a/b/c.bin", "a/d e?.bin"]}]}',
        "above": b'{"weightsManifest": [{"paths": ["../x"]}]}',
        "no-object": b"[]",
        "nested": NESTED,
        "deep-path": json.dumps({"weightsManifest": [{"paths": ["a/" * 1500 + "b", "c/" * 1500 + "d"]}]}).encode(),
    }


def cost() -> Mapping[str, bytes]:
    return {
        "log": b"lhttp://hub.test/a\n%%\nb?\n%%\n answered",
        "text": b"rsee http://\n%%\nme@\n%%\n/a",
        "query": b"rsee /a\n%%\n?\n%%\n",
        "error": b"ea\n%%\n \n%%\n.",
        "link": b'i<a>;rel="\n%%\n hubfs-index\n%%\nx',
        "head": b"HETag: a\n%%\n\r\nA: b\n%%\n",
        "header": b"hbytes \n%%\n1\n%%\n-2/3",
        "way": b"whttp://\n%%\n../\n%%\n",
        "catalogue": b"cModule\ta\n%%\n/a\n%%\n/1",
        "json": b'j{"weightsManifest": \n%%\n[\n%%\n]}',
        "listing": b'g{"prefixes": [\n%%\n"a/",\n%%\n"b/"]}',
        "links": b"m# Collection a/b\n\n%%\n](\n%%\n)",
        "paths": b"fa\n%%\n/a\n%%\n,b",
    }


def fuse_session_() -> Inputs:
    whole = fuse_session.seed_session()
    return {
        "session": fuse_session.framed(whole),
        "backwards": fuse_session.framed(whole[::-1]),
        "cut-off": fuse_session.framed([request[:41] for request in whole]),
        "twice": fuse_session.framed(whole[1:8] * 2),
        "unknown": fuse_session.framed([fuse_session.request(opcode, 77, bytes(16)) for opcode in range(60)]),
    }


def gcs_listing() -> Inputs:
    def obj(name: str, size: int = 5) -> dict[str, str]:
        made = "2024-02-29T23:59:59.999Z"
        pin = {"generation": "1700000000000001", "crc32c": "AAAAAA==", "timeCreated": made}
        return {"name": name, "size": str(size), **pin}

    model = {"items": [obj("hub/google/spice/2/saved_model.pb"), obj("hub/google/spice/2/variables/variables.index")]}
    folders = {"prefixes": ["hub/google/spice/", "hub/google/lite-model/"], "items": [obj("hub/google/a/1.tar.gz")]}
    pages = {"items": [obj("hub/google/spice/2/")], "nextPageToken": "abc"}
    versions = {"prefixes": ["hub/google/spice/1/", "hub/google/spice/2/", "hub/google/spice/010/"]}
    archives = {"items": [obj("hub/google/spice/2.tar.gz", 1000), obj("hub/google/spice/3.tgz")]}
    return {
        "model": json.dumps(model).encode(),
        "folders": json.dumps(folders).encode(),
        "pages": json.dumps(pages).encode() + b"\n%%\n" + json.dumps(model).encode(),
        "versions": json.dumps(versions).encode(),
        "archives": json.dumps(archives).encode(),
        "nothing": b"{}",
        "one-object": json.dumps(obj("hub/object")).encode(),
        "a-page": b"<html>",
        "nested": NESTED,
        "infinite": b'{"items": [{"name": "hub/google/spice/2/a", "size": 1e999, "generation": 1e999}]}',
        "long-version": json.dumps({"prefixes": ["hub/google/spice/" + "1" * 5000 + "/"]}).encode(),
    }


def gguf() -> Inputs:
    def text(said: bytes, order: str = "<") -> bytes:
        return struct.pack(f"{order}Q", len(said)) + said

    def head(tensors: int, keys: int, order: str = "<") -> bytes:
        return b"GGUF" + struct.pack(f"{order}IQQ", 3, tensors, keys)

    alignment = text(b"general.alignment") + struct.pack("<II", 4, 64)
    tokens = text(b"tokens") + struct.pack("<IIQ", 9, 8, 2) + text(b"a") + text(b"bc")
    scores = text(b"scores") + struct.pack("<IIQ", 9, 6, 2) + bytes(8)
    nested = text(b"nested") + struct.pack("<IIQIQ", 9, 9, 1, 9, 0)
    tensor = text(b"t") + struct.pack("<IQQIQ", 2, 2, 3, 0, 0)
    return {
        "keys": head(0, 4) + alignment + tokens + scores + nested + bytes(64),
        "tensor": head(1, 1) + tokens + tensor + bytes(100),
        "big-endian": head(0, 1, ">") + text(b"n", ">") + struct.pack(">IQ", 10, 7) + bytes(40),
        "version-1": b"GGUF" + struct.pack("<IIIIcIH", 1, 0, 1, 1, b"k", 2, 7) + bytes(40),
        "many-texts": head(0, 1) + text(b"k") + struct.pack("<IIQ", 9, 8, 1 << 60),
        "no-end": head(1, 0) + text(b"t") + struct.pack("<I", 1 << 31),
    }


def safetensors() -> Inputs:
    def file(header: object, data: bytes = b"") -> bytes:
        said = header if isinstance(header, bytes) else json.dumps(header).encode()
        return b"f" + struct.pack("<Q", len(said)) + said + data

    def tensor(kind: str, shape: list[int], *offsets: int) -> dict[str, object]:
        return {"dtype": kind, "shape": shape, "data_offsets": offsets}

    two = {"b": tensor("F32", [2, 1], 0, 8), "a": tensor("U8", [3], 8, 11)}
    return {
        "two": file({"__metadata__": {"format": "pt"}, **two}, bytes(11)),
        "padded": file(json.dumps(two).encode() + b"   ", bytes(11)),
        "empty": file({}),
        "none-and-scalar": file({"n": tensor("F64", [0, 4], 2, 2), "s": tensor("BF16", [], 0, 2)}, b"12"),
        "four-bits": file({"f": tensor("F4", [4], 0, 2)}, b"12"),
        "overlap": file({"a": tensor("U8", [2], 0, 2), "b": tensor("U8", [2], 1, 3)}, b"123"),
        "too-long": b"f" + struct.pack("<Q", 1 << 40) + b"{}",
        "nested": file(b'{"a":' + NESTED),
        "index": b"i" + json.dumps({"weight_map": {"a": "m-1.safetensors", "b": "m-2.safetensors"}}).encode(),
        "index-outside": b"i" + json.dumps({"weight_map": {"a": "../m.safetensors"}}).encode(),
    }


def kaggle() -> Inputs:
    def said(*answers: object) -> bytes:
        return b"a" + b"\n%%\n".join(b"200 " + json.dumps(answer).encode() for answer in answers)

    def file(name: str, size: object = 5) -> dict[str, object]:
        return {"name": name, "size": size, "creationDate": "2024-06-01T12:00:00.000Z"}

    instance = {"slug": "yamnet", "framework": "tensorFlow2", "versionNumber": 3}
    models = {"models": [{"slug": "yamnet", "instances": [instance]}], "nextPageToken": ""}
    signed = b"https://store.test/a?X-Goog-Date=20240601T120000Z&X-Goog-Expires=259200&X-Goog-Signature=0"
    handle = b"google/yamnet/tensorFlow2/yamnet/1"
    long_form = b"google/yamnet/frameworks/TensorFlow2/variations/yamnet/versions/1"
    return {
        "files": said({"files": [file("saved_model.pb"), file("variables/variables.index")], "nextPageToken": ""}),
        "pages": said({"files": [file("a")], "nextPageToken": "b"}, {"files": [file("b")], "nextPageToken": "b"}),
        "twice": said({"files": [file("a"), file("a")]}),
        "many": said({"files": [file(str(number)) for number in range(30)]}),
        "no-paths": said({"files": [file("../a"), file("/a"), file("a//b"), file("a/b"), file("a")]}),
        "sizes": said({"files": [file("a", -1), file("b", 1 << 70), file("c", "5"), file("d", None)]}),
        "infinite": b'a200 {"files": [{"name": "a", "size": 1e999}]}',
        "half-a-pair": b'a200 {"files": [{"name": "\\ud800", "size": 1}]}',
        "models": said(models),
        "latest": said(instance),
        "versions": said({"versionList": {"versions": [{"versionNumber": 1}, {"versionNumber": 3}]}}),
        "error-in-a-200": said({"code": 403, "message": "User has not consented"}),
        "too-many": b'a429 {"error": {"code": 429, "message": "Too many requests"}}',
        "redirect": b"a302 " + signed,
        "a-page": b"a200 <html>",
        "nested": b"a200 " + NESTED,
        "handle": b"n" + handle,
        "url": b"nhttps://www.kaggle.com/models/" + handle + b"?tf-hub-format=compressed",
        "long-url": b"nhttps://www.kaggle.com/models/" + long_form,
        "api-url": b"nhttps://www.kaggle.com/api/v1/models/" + handle + b"/download/saved_model.pb",
        "scheme": b"nkaggle://" + handle,
        "path": b"ngoogle/yamnet/tensorflow2/yamnet/latest",
        "hashes": b"hcrc32c=yZRlqg==,md5=XrY7u+Ae7tCTyyK7j1rNww==",
        "hash": b"hmd5=XrY7u+Ae7tCTyyK7j1rNww==",
        "signed": b"u" + signed,
        "signed-as-before": b"uhttps://store.test/a?GoogleAccessId=web-data@x&Expires=1717243200&Signature=0",
    }


def huggingface() -> Inputs:
    repo, commit = b"BAAI/bge-m3", b"5a" * 20

    def said(*answers: object, headers: bytes = b"") -> bytes:
        return b"a" + b"\n%%\n".join(b"200 " + headers + b"\n\n" + json.dumps(each).encode() for each in answers)

    def file(path: str, **more: object) -> dict[str, object]:
        return {"type": "file", "path": path, "size": 5, "oid": "ab" * 20, **more}

    lfs = {"oid": "ab" * 32, "size": 5, "pointerSize": 134}
    more = b'Link: <https://huggingface.co/api?cursor=%d>; rel="next"'
    located = b"a302 Location: https://cdn.test/a?Expires=1717243200\nX-Linked-Size: 5\nX-Linked-Etag: "
    return {
        "tree": said([file("config.json"), file("model.safetensors", lfs=lfs), {"type": "directory", "path": "a"}]),
        "pages": said([file("a")], headers=more % 1) + b"\n%%\n" + said([file("b")], headers=more % 2)[1:],
        "no-paths": said([file("../a"), file("/a"), file("a//b"), file("a/b"), file("a")]),
        "sizes": said([file("a", size=-1), file("b", size=1 << 70), file("c", size="5")]),
        "hashes": said([file("a", oid="x")]),
        "half-a-pair": b'a200 \n\n[{"type": "file", "path": "\\ud800", "size": 1, "oid": "' + b"ab" * 20 + b'"}]',
        "revision": said({"id": "BAAI/bge-m3", "sha": commit.decode()}),
        "moved": said({"id": "other/name", "sha": commit.decode()}),
        "list": said([{"id": "BAAI/bge-m3"}, {"id": "BAAI/../x"}, {"id": 5}]),
        "gated": b"a403 X-Error-Code: GatedRepo\nX-Error-Message: Access is restricted\n\n{}",
        "missing": b"a404 X-Error-Code: EntryNotFound\n\n{}",
        "too-many": b'a429 RateLimit: "api";r=0;t=55\nRateLimit-Policy: "fixed window";"api";q=500;w=300\n\n{}',
        "located": located + b'"' + b"ab" * 32 + b'"\n\n',
        "another": located + b'"' + b"cd" * 32 + b'"\n\n',
        "bytes": b"a206 Content-Range: bytes 0-4/5\n\nhello",
        "nested": b"a200 \n\n" + NESTED,
        "handle": b"nhf:" + repo + b"@v1",
        "url": b"nhttps://huggingface.co/" + repo + b"/blob/" + commit + b"/config.json",
        "reference": b"nhttps://huggingface.co/datasets/" + repo + b"/resolve/refs/pr/1/a?download=true",
        "path": b"r" + repo + b"@" + commit + b"/onnx/a@b",
        "branch": b"r" + repo + b"@feature%2Fx",
        "folders": b"rdatasets/" + repo + b"@refs/pr/1",
        "single": b"rgpt2@main",
        "kept": b"k../other/name@" + commit,
    }


def config() -> Inputs:
    file = b'hub = "https://hub.example/models"\ncache_size = "10GB"\nstall_timeout = "30s"\nformat = "auto"\n'
    environment = b"\n%%\nHUBFS_CACHE_SIZE=512MiB\nHUBFS_HEADERS=X-Token: abc\nHUBFS_PREFETCH=none\n"
    return {
        "file": file,
        "both": file + environment,
        "numbers": b"cache_size = 5000000\nconnect_timeout = 2.5\nallow_other = true\ninflate_workers = 2\n",
        "headers": b'token = "abc"\n[headers]\n"X-Key" = "value"\n',
        "options": b'mount_options = "max_read=4096,ro"\nlog_level = "debug"\ncatalog = "~/catalogue"\n',
        "bucket": b"\n%%\nHUBFS_HUB=gs://bucket/prefix\nHUBFS_CACHE_DIR=/tmp/x\nTFHUB_CACHE_DIR=gs://b/c\n",
        "unknown": b"nonsense = 1\n",
        "nested": b"cache_size = " + NESTED,
    }


def hub_answer() -> Inputs:
    def reply(status: str, *headers: str, body: bytes = b"") -> bytes:
        lines = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}"]
        return "\r\n".join([*lines, "", ""]).encode() + body

    tar_gz, page = gzipped(tar_of(SMALL)), b"<!doctype html><title>no</title>"
    bucket = reply("303 See Other", "Location: gs://bucket/a", body=b"gs://bucket/google/spice/2")
    ranged = reply("206 Partial Content", f"Content-Range: bytes 0-511/{len(tar_gz)}", 'ETag: "1"', body=tar_gz[:512])
    moved = reply("302 Found", "Location: https://store.test/google/spice/3.tar.gz?sig=1")
    missing, busy = reply("404 Not Found"), reply("503 Busy", "Retry-After: Wed, 21 Oct 2026 07:28:00 GMT")
    manifest = b'{"weightsManifest": [{"paths": ["shard1"]}]}'
    whole = reply("200 OK", "Content-Type: application/json", "Last-Modified: now", body=manifest)
    index = index_file()["gzip"]
    link = "Link: </i>; rel=hubfs-index"
    published = reply("206 Partial Content", "Content-Range: bytes 0-9/1000", link, body=b"0" * 10)
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"

    def several(letter: bytes, *replies: bytes) -> bytes:
        return letter + b"\n%%\n".join(replies)

    return {
        "bucket": several(b"r", bucket),
        "archive": several(b"r", missing, ranged),
        "page": several(b"r", reply("200 OK", "Content-Type: text/html", body=page)),
        "compressed": several(b"c", moved, ranged),
        "tfjs": several(b"j", missing, ranged),
        "lite": several(b"t", reply("200 OK", body=b"\x1c\0\0\0TFL3" + bytes(20))),
        "latest": several(b"l", moved, missing),
        "versions": several(b"v", missing, missing, ranged, ranged, missing),
        "busy": several(b"l", busy),
        "catalogue": several(b"d", reply("200 OK", 'ETag: "2"', body=b"Module\tgoogle/spice/2\n")),
        "not-modified": several(b"d", reply("304 Not Modified")),
        "blob": several(b"b", ranged, ranged, ranged),
        "empty-blob": several(b"b", reply("416 No", "Content-Range: bytes */0")),
        "stream": several(b"s", reply("200 OK", body=b"hello"), reply("200 OK", body=b"hello")),
        "chunked": several(b"s", chunked, chunked),
        "published": several(b"p", published, reply("200 OK", body=index), ranged),
        "tfjs-files": several(b"m", whole, whole),
        "date-out-of-range": several(b"l", reply("503 x", "Retry-After: Mon, 01 Jan 99999999999 00:00:00 GMT")),
        "long-length": b"bHTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
        "long-range": several(b"b", reply("206 x", "Content-Range: bytes 0-1/" + "9" * 5000, body=b"ab")),
        "loop": several(b"l", reply("302 Found", "Location: /google/spice")),
    }


def worker_messages() -> Inputs:
    def say(kind: Kind, number: int = 0, other: int = 0, text: bytes = b"") -> bytes:
        message = _FORMAT.pack(kind.value, number, other) + text
        return bytes([len(message)]) + message

    good = say(Kind.CHECKPOINT, 80, 0) + say(Kind.FILLED, 1000) + say(Kind.ENDED, 1000)
    return {
        "output": good,
        "four-slots": say(Kind.FILLED, SLOT_BYTES) * 4 + say(Kind.ENDED, 4 * SLOT_BYTES),
        "gives-up": say(Kind.FAILED, text=b"too much memory"),
        "ends": b"",
        "other-side": say(Kind.FED, 5) + say(Kind.ROOM, 10) + say(Kind.FREED),
    }


def write() -> None:
    """Writes all of them."""
    for name, build in SEEDS.items():
        folder = CORPUS / name
        folder.mkdir(parents=True, exist_ok=True)
        for title, data in build().items():
            (folder / title).write_bytes(data)


SEEDS = {
    "block_map": block_map_,
    "catalogue": catalogue,
    "config": config,
    "cost": cost,
    "fuse_session": fuse_session_,
    "gcs_listing": gcs_listing,
    "gguf": gguf,
    "gzip_index": gzip_index,
    "gzip_stream": gzip_stream,
    "handle": handle,
    "hub_answer": hub_answer,
    "huggingface": huggingface,
    "index_file": index_file,
    "kaggle": kaggle,
    "model_index": model_index,
    "protobuf": protobuf,
    "safetensors": safetensors,
    "shared_block": shared_block,
    "span": span,
    "tar": tar,
    "tfjs_manifest": tfjs_manifest,
    "worker_messages": worker_messages,
}

if __name__ == "__main__":
    write()
