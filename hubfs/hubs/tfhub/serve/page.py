"""The pages for people, as HTML that needs nothing else: no script, no font, no image."""

import base64
import hashlib
import html
import shlex
from collections.abc import Iterable, Sequence
from string import Template
from urllib.parse import quote

from hubfs.formats.packing.listing import Member
from hubfs.hubs.tfhub.names.handle import Kind, kind_of
from hubfs.hubs.tfhub.serve.models import WHOLE
from hubfs.model_id import ModelId

_STYLE = """
:root { color-scheme: light dark; --line: #8886; --soft: #8881; --dim: #595959; --link: #0b57d0 }
@media (prefers-color-scheme: dark) { :root { --dim: #b0b0b0; --link: #9ec1ff } }
body { font: 1rem/1.55 system-ui, sans-serif; max-width: 52rem; margin: 0 auto; padding: 1.5rem 1rem 4rem }
a { color: var(--link) }
h1 { font-size: 1.7rem; line-height: 1.25; overflow-wrap: anywhere }
h2 { font-size: 1.15rem; margin-top: 2.2rem }
nav ol { list-style: none; display: flex; flex-wrap: wrap; padding: 0; margin: 0 }
nav li + li::before { content: "/"; padding: 0 .45em; color: var(--dim) }
table { border-collapse: collapse; width: 100% }
caption { text-align: left; color: var(--dim); padding-bottom: .4rem }
th, td { text-align: left; padding: .35rem .6rem .35rem 0; border-bottom: 1px solid var(--line) }
th, td { overflow-wrap: anywhere }
th:last-child, td:last-child { text-align: right; white-space: nowrap; padding-right: 0 }
td { font-family: ui-monospace, monospace; font-size: .92rem }
pre { background: var(--soft); border: 1px solid var(--line); border-radius: .4rem; padding: .8rem; overflow-x: auto }
""".strip()
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

HEADERS = {
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
"""To be sent with every page: the browser then runs and loads nothing, whatever a file is called."""

_PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>$style</style>
</head>
<body>
<nav aria-label="Breadcrumb"><ol>$crumbs</ol></nav>
<main>
<h1>$heading</h1>
$body
</main>
</body>
</html>
""")


def model_page(handle: ModelId, versions: Sequence[ModelId], files: Sequence[Member], hub: str, *, packed: bool) -> str:
    """About one model: how to mount, load and fetch it; its files. `hub` is this host's URL, as it was reached."""
    rows = "".join(
        f"<tr><td>{_e(file.name)}</td><td>{size_text(file.size_bytes)}</td></tr>"
        for file in files
        if not file.is_directory
    )
    total = size_text(sum(file.size_bytes for file in files))
    mount = f"$ hubfs mount /mnt/tfhub --hub {shlex.quote(hub)}\n$ ls /mnt/tfhub/{handle}\n{_use_files(handle)}"
    load = _use_url(handle, hub)
    query = WHOLE[kind_of(handle.name)]
    is_archive = query.endswith("compressed")
    name = handle.name.rpartition("/")[2]
    fetch = (
        f"$ hubfs fetch {handle} --hub {shlex.quote(hub)} --to {name}\n"
        f"$ curl -fL {shlex.quote(f'{hub}/{handle}?{query}')} {'| tar xz' if is_archive else '-o model.tflite'}"
    )
    whole = "archive (tar.gz)" if is_archive else "file"
    newest = versions[-1] if versions else handle
    others = [other for other in reversed(versions) if other != handle]
    note = "" if newest == handle else f"<p>There is a newer version: {_link(newest, f'version {newest.version}')}.</p>"
    body = (
        f"<p>Version {_e(handle.version)} of a model on this hub.</p>{note}"
        f"<h2>Read it as files</h2>{_code(mount)}"
        f"{f'<h2>Load it by its URL</h2>{_code(load)}' if load else ''}"
        f"<h2>Fetch it, verified or by hand</h2>{_code(fetch)}"
        f'<p><a href="{_href(str(handle))}?{query}">Download the {whole}</a></p>'
        f"<h2>Files</h2><table><caption>{'The archive' if packed and is_archive else 'All files'}, {total}</caption>"
        f'<thead><tr><th scope="col">Name</th><th scope="col">Size</th></tr></thead><tbody>{rows}</tbody></table>'
    )
    if others:
        body += f"<h2>Other versions</h2><ul>{_items(_link(other, other.version) for other in others)}</ul>"
    return _page(str(handle), str(handle).split("/"), body)


def list_page(segments: Sequence[str], models: Sequence[ModelId]) -> str:
    """The models below a path of the hub; below the hub itself for no segments."""
    publishers = sorted({model.name.partition("/")[0] for model in models})
    body = (
        f"<p>{len(models)} {'model version' if len(models) == 1 else 'model versions'}.</p>"
        if models
        else (
            "<p>No models yet. A model is a directory PUBLISHER/NAME/VERSION, or an archive "
            "PUBLISHER/NAME/VERSION.tar.gz, below the directory that is served.</p>"
        )
    )
    for publisher in publishers:
        names: dict[str, list[ModelId]] = {}
        for model in models:
            above, _, name = model.name.partition("/")
            if above == publisher:
                names.setdefault(name, []).append(model)
        items = _items(
            f"{_e(name)}: " + ", ".join(_link(model, f"version {model.version}") for model in reversed(versions))
            for name, versions in names.items()
        )
        body += f"<h2>{_e(publisher)}</h2><ul>{items}</ul>"
    return _page("/".join(segments) or "Models on this hub", segments, body)


def error_page(title: str, message: str) -> str:
    """What went wrong, in words, with the way back to the list of models."""
    return _page(title, (), f'<p>{_e(message)}</p><p><a href="/">All models on this hub</a></p>')


def size_text(size_bytes: int) -> str:
    """`1.4 MB`: at most four characters and a decimal unit."""
    size, unit = float(size_bytes), "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if size < 999.5:  # noqa: PLR2004 - what would be shown as 1000
            break
        size, unit = size / 1000, larger
    return f"{size:.0f} {unit}" if unit == "bytes" or size >= 9.95 else f"{size:.1f} {unit}"  # noqa: PLR2004 - as above


def _use_files(handle: ModelId) -> str:
    root = f"/mnt/tfhub/{handle}"
    if kind_of(handle.name) is Kind.TFJS:
        return (
            "$ node\n> const tf = require('@tensorflow/tfjs-node')\n"
            f"> const model = await tf.loadGraphModel('file://{root}/model.json')"
        )
    if kind_of(handle.name) is Kind.MODEL:
        return f"$ python\n>>> import tensorflow as tf\n>>> model = tf.saved_model.load('{root}')"
    return (
        "$ python\n>>> from ai_edge_litert.interpreter import Interpreter\n"
        f">>> interpreter = Interpreter('{root}/model.tflite')"
    )


def _use_url(handle: ModelId, hub: str) -> str | None:
    """How a program loads the model by its URL; None where no library does."""
    if kind_of(handle.name) is Kind.TFJS:
        return f"const model = await tf.loadGraphModel('{hub}/{handle}', {{fromTFHub: true}})"
    if kind_of(handle.name) is Kind.MODEL:
        return "\n".join(
            f">>> import {library}\n>>> model = {name}.load('{hub}/{handle}')"
            for library, name in (("hubfs", "hubfs"), ("tensorflow_hub as hub", "hub"))
        )
    return None


def _page(heading: str, segments: Sequence[str], body: str) -> str:
    trail = [("Hub", "/"), *((name, _href("/".join(segments[: n + 1]))) for n, name in enumerate(segments))]
    current = ' aria-current="page"'
    crumbs = "".join(
        f'<li><a href="{href}"{current if n == len(segments) else ""}>{_e(name)}</a></li>'
        for n, (name, href) in enumerate(trail)
    )
    title = _e(f"{heading} - hubfs")
    return _PAGE.substitute(title=title, style=_STYLE, crumbs=crumbs, heading=_e(heading), body=body)


def _items(items: Iterable[str]) -> str:
    return "".join(f"<li>{item}</li>" for item in items)


def _link(handle: ModelId, text: str) -> str:
    return f'<a href="{_href(str(handle))}">{_e(text)}</a>'


def _href(path: str) -> str:
    return _e(quote(f"/{path}"))


def _code(text: str) -> str:
    return f'<pre tabindex="0"><code>{_e(text)}</code></pre>'


def _e(text: str) -> str:
    """Escapes; names that are not UTF-8 lose the bytes that are not."""
    return html.escape(text.encode("utf-8", "replace").decode())
