"""No expression that a host's or a user's text reaches takes longer than its length explains.

An expression holds the interpreter's lock until it is done: one that is quadratic stops every reader, and SIGTERM.
"""

import ast
import importlib
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache

import pytest

from tests.support.paths import ROOT

MEGABYTE = 1_000_000
BOUND_S = 0.1

# What each expression is tried with: what it begins with, what it goes on with for a megabyte, and what it must not end
# with. The worst are those that begin anew at every place, and that end elsewhere than hoped for.
WORST: dict[str, tuple[tuple[str, str, str], ...]] = {
    "errors._CUT_AUTHORITY": (("", "://", "/"), ("", "://a", " "), ("://", "a", "/")),
    "blobs.http.url._ADDRESS": (("", "a-", ""), ("", "://", ""), ("://", "a", ""), ("://", "@", ""), ("", "://@ ", "")),
    "blobs.http.url._KAGGLE_TOKEN": (("", "KGAT_", ""), ("KGAT_", "a", "-"), ("", "KGAT", ""), ("", "KGAT_a ", "")),
    "blobs.http.url._QUERY": (("a", "?", ""), ("a?", "=", ""), ("", "a? ", ""), ("a?", "a", ""), ("a", "?a=", "")),
    "blobs.gcs.object._DATE": (("2026-01-31T12:00:00.", "1", "x"),),
    "blobs.http.object._CONTENT_RANGE": (("", " ", "x"), ("bytes", " ", "x"), ("bytes 1-2/3", " ", "x")),
    "blobs.http.object._NUMBER": (("", "1", "x"),),
    "cache.sealed_json._HEAD": (('{"version": 2, "crc32c": 1, "', "a", "!"),),
    "hubs.tfhub.names.documentation._TITLE": (
        ("#", " ", ""),
        ("# Module", " ", ""),
        ("# Module a", " ", "b"),
        ("", "# ", ""),
    ),
    "hubs.tfhub.names.documentation._JOINERS": (("", "&zwnj", ""), ("", "&", "")),
    "hubs.tfhub.names.documentation._CODE": (
        ("", "```", ""),
        ("", "   \n", ""),
        ("", "```\n~~~\n", ""),
        ("~~~", "\n   ``", ""),
    ),
    "hubs.tfhub.names.documentation._LINK": (
        ("](", " ", "("),
        ("", "](", ""),
        ("", "https://", ""),
        ("", "http", ""),
        ("](", "a", ""),
    ),
    "hubs.tfhub.names.tfhub_modules._DIGEST": (("", "a", "x"),),
    "hubs.tfhub.serve.resumable._ONE_RANGE": (("bytes=", "1", "x"), ("bytes=1-", "1", "x")),
    "hubs.tfhub.serve.app._BUCKET": (("gs://a", "a", "?"), ("gs://a/", "a", "?"), ("gs://a", "/", " ")),
    "hubs.tfhub.names.handle._PUBLISHER": (("", "a", "!"),),
    "hubs.tfhub.names.handle._SEGMENT": (("", "a", "!"),),
    "hubs.kaggle.names._SLUG": (("", "a", "!"),),
    "hubs.kaggle.names._VERSION": (("", "1", "!"),),
    "hubs.tfhub.names.handle._VERSION": (("", "1", "!"),),
    "hubs.tfhub.versions._VERSION": (("", "1", "x"), ("1", "/", "x"), ("1", ".tar", "x")),
    "commands.cache.selecting._TERM": (("", "a", "!"), ("a", " ", "!"), ("a=", "b", "")),
    "commands.debug.secrets._LOOKS": (
        *(("", "hf_", ""), ("hf_", "a", "!"), ("", "bearer ", ""), ("bearer ", "a", ""), ("", "hf_a ", "")),
        *(("basic ", "a", "!"), ("", "asic ", ""), ("ya29.", ".", "!"), ("", "AKIA", " ")),
    ),
    "hubs.bucket.hub._BUCKET": (("", "a", "!"), ("a", ".", "!")),
    "hubs.tfhub.questions._GS_URL": (("", "gs://", ""), ("", "gs:/", ""), ("gs://", "a", "")),
    "hubs.tfhub.questions._GS_FOLDER": (
        *(("gs://a", "a", "!"), ("gs://", "a.", "!"), ("gs://aa", "/a", "?"), ("gs://aa/", "a", "?")),
        *(("gs://aa", "/", "?"), ("gs://aa/", ".", "?")),
    ),
    "hubs.tfhub.extracted.saved_model._SHARD": (("variables/variables.data-", "0", ""),),
    "formats.tar.header._PAX_RECORD": (("11 ", "a", ""), ("", "1 ", ""), ("", "0", "x"), ("", "0", " ")),
    "formats.tar.sparse.NUMBER": (("", "1", "x"), ("", "0", "x")),
    "formats.tar.sparse._OCTAL": (("", "1", "x"),),
    "hubs.tfhub.serve.app._HOST": (("", "a", "!"), ("a:", "1", "x"), ("[", ":", ""), ("", ".", "/")),
    "hubs.tfhub.extracted.source._MODULE_NAME": (("", "a", "g"),),
    "sources.archive.published._LINK": (("", "<", ""), ("<", "a", ""), ("<>", "a", ""), ("", "<>", "")),
    "sources.archive.published._REL": (
        *((";", " ", ""), (";rel", " ", ""), (";rel=", " ", ""), ('<x>;rel="', " hubfs-index", "")),
        *(("", ';rel="', ""), ("", ";", ""), (";rel=", "a", "")),
    ),
    "sources.prefetch.plan._DIGITS": (("", "1", ""), ("", "1a", "")),
    "sources.prefetch.gguf._SPLIT": (("", "-", ""), ("a", "-00001", ""), ("", "-00001-of-00002", "x")),
    "sources.prefetch.safetensors._INDEX": (
        *(("", "a", ""), ("a", ".safetensors", ""), ("a.safetensors.index.", "a", "")),
        *(("a", ".safetensors.index", ""), ("a", ".safetensors.index.a", ".json/")),
    ),
    "sources.prefetch.safetensors._SHARD": (("", "-", ""), ("a", "-00001", ""), ("", "-00001-of-00002", "x")),
    "sources.prefetch.saved_model._SHARD": (("variables.data-", "1", "x"), ("variables.data-1-of-", "1", "x")),
    "sources.prefetch.tfjs._SHARD": (("", "a", ""), ("", ".bin", "x"), ("group", "1", "x"), ("", "group1-", "")),
    "settings.values._SIZE": (("", "1", "x"), ("1.", "1", "x"), ("1", " ", "x")),
    "settings.values._TIME": (("", "1", "x"), ("1.", "1", "x"), ("1", " ", "x")),
    "settings.values._NAMED_HUB": (("a", "b", " "), ("a=", "b", "")),
    "settings.values._HEADER_NAME": (("", "a", " "),),
}
INLINE = {
    "hubs.tfhub.resolver": {r"[?#\s]"},  # a class alone
    "mounts.table": {r"\\([0-7]{3})", r"(?:^|,)user_id=(\d+)(?:,|$)"},  # the kernel's lines
}


def modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted((ROOT / "hubfs").rglob("*.py")):
        name = ".".join(path.relative_to(ROOT / "hubfs").with_suffix("").parts)
        yield name.removesuffix(".__init__"), ast.parse(path.read_text())


@lru_cache(1)
def expressions() -> dict[str, set[str]]:
    """Every expression that a module of hubfs has a name for, and the methods of it that are used."""
    found: dict[str, set[str]] = {}
    for module, tree in modules():
        named = {
            node.targets[0].id
            for node in tree.body
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and _is_re(node.value, "compile")
        }
        for node in ast.walk(tree):
            used = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in named
            if used:
                found.setdefault(f"{module}.{node.value.id}", set()).add(node.attr)
    return found


def _is_re(node: ast.AST, *functions: str) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "re"
        and (not functions or node.func.attr in functions)
    )


def cpu_s(expression: "re.Pattern[str] | re.Pattern[bytes]", methods: Iterable[str], text: str) -> float:
    """What this thread takes for it, at best: what others do beside it does not count."""
    subject = text.encode() if isinstance(expression.pattern, bytes) else text
    took = []
    for method in methods:
        # One that goes on to the end is asked to go on without making anything of what it finds.
        arguments = (subject,) if method in ("match", "fullmatch") else (subject[:0], subject)
        use = getattr(expression, method if len(arguments) == 1 else "sub")
        took.append(min(_cpu_s(use, arguments) for _ in range(5)))
    return max(took)


def _cpu_s(use: Callable[..., object], arguments: Sequence[object]) -> float:
    began_s = time.thread_time()
    use(*arguments)
    return time.thread_time() - began_s


def test_every_expression_is_in_the_table() -> None:
    assert set(expressions()) == set(WORST), "what is the worst that can be said to it?"
    inline: dict[str, set[str]] = {}
    for module, tree in modules():
        for node in ast.walk(tree):
            if _is_re(node, "match", "fullmatch", "search", "sub", "split", "findall", "finditer"):
                assert isinstance(node, ast.Call)
                assert isinstance(node.args[0], ast.Constant), f"{module} makes an expression as it goes"
                inline.setdefault(module, set()).add(str(node.args[0].value))
    assert inline == INLINE


@pytest.mark.slow
@pytest.mark.parametrize(("name", "worst"), [(name, worst) for name, cases in WORST.items() for worst in cases])
def test_a_megabyte_of_the_worst_is_nothing(name: str, worst: tuple[str, str, str]) -> None:
    module, _, attribute = name.rpartition(".")
    expression = getattr(importlib.import_module(f"hubfs.{module}"), attribute)
    methods = expressions()[name]
    start, unit, end = worst
    few_s = cpu_s(expression, methods, start + unit * (20_000 // len(unit)) + end)
    assert few_s < BOUND_S, f"{few_s:.2f} s for 20 kB"  # before it is asked for hours
    taken_s = cpu_s(expression, methods, start + unit * (MEGABYTE // len(unit)) + end)
    assert taken_s < BOUND_S, f"{taken_s:.2f} s"
