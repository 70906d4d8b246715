"""The panels of the dashboard over a real run, as a picture: `measure ANSWERS`, then `draw ANSWERS PICTURE`.

`measure` mounts a stand-in for the Hugging Face Hub, which answers 429 in the end, has four programs read, and asks
Prometheus each query of docs/monitoring/grafana.json. `draw` needs matplotlib alone.
"""

import json
import os
import random
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

DASHBOARD = Path(__file__).parent.parent / "docs" / "monitoring" / "grafana.json"
READ_S, LIMITED_S = 150.0, 100.0
NEXT_MODEL_S = 25.0
COLOURS = ["#73bf69", "#f2cc0c", "#5794f2", "#ff9830", "#f2495c", "#b877d9", "#8ab8ff", "#37872d", "#fade2a", "#96d98d"]
DARK = {
    **dict.fromkeys(("xtick.color", "ytick.color"), "#8e8e9a"),
    "font.size": 7,
    "axes.facecolor": "#181b1f",
    "figure.facecolor": "#111217",
    "text.color": "#ccccdc",
    "axes.edgecolor": "#2c2e33",
    "grid.color": "#26282d",
}


def measure(answers: Path) -> None:
    from tests.support.huggingface import HuggingFaceStandIn, too_many  # noqa: PLC0415 - `draw` is another environment
    from tests.support.mount import Machine, mounted  # noqa: PLC0415 - as above
    from tests.support.prometheus import prometheus  # noqa: PLC0415 - as above

    with HuggingFaceStandIn() as hub, ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hubfs-dashboard.")))
        names = [f"acme/model-{number}" for number in range(5)]
        for name in names:
            hub.put(name, {"config.json": b"{}", "model.safetensors": os.urandom(24 << 20)})
        options = ("--metrics-addr", "127.0.0.1:0", "--verify", "always", "--memory-size", "16MiB")
        machine = Machine(home / "machine", {"HF_ENDPOINT": hub.url})
        mount = stack.enter_context(mounted(machine, home / "hub", "hf=hf:", *options))
        server = stack.enter_context(prometheus(home / "prometheus", str(mount.status()["metrics_addr"])))
        time.sleep(10)
        began_s, over = time.time(), threading.Event()
        readers = [threading.Thread(target=read, args=(mount.path / "hf", names, over, seed)) for seed in range(4)]
        for reader in readers:
            reader.start()
        time.sleep(LIMITED_S)
        for question in ("info", "tree"):
            hub.script(question, too_many("api", 35))
        with suppress(OSError):
            (mount.path / "hf" / f"{names[0]}@other" / "config.json").stat()
        time.sleep(READ_S - LIMITED_S)
        panels = json.loads(DASHBOARD.read_text())["panels"]
        for panel in panels:
            for target in panel["targets"]:
                asked = target["expr"].replace("$__rate_interval", "10s").replace("$instance", ".*")
                target["answer"] = server.query_range(asked, began_s - 5, time.time(), 2)
        answers.write_text(json.dumps(panels))
        over.set()
        for reader in readers:
            reader.join()


def read(hub: Path, names: list[str], over: threading.Event, seed: int) -> None:
    chance, began_s = random.Random(seed), time.time()
    over.wait(3 * seed)
    while not over.wait(1.5 * chance.random()):
        known = names[: 1 + min(int((time.time() - began_s) / NEXT_MODEL_S), len(names) - 1)]
        with suppress(OSError):
            model = hub / (known[-1] if chance.random() < 0.5 else chance.choice(known))  # noqa: PLR2004 - half of them
            with (model / "model.safetensors").open("rb") as file:
                while file.read(1 << 20) and not over.wait(0.02):
                    pass
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)  # else the kernel has it from now on
            list(model.iterdir())
            (model / "nothing").stat()


def shown(value: float, unit: str) -> str:
    if unit in {"bytes", "Bps"}:
        power = next((power for power in range(3) if abs(value) < 1024 ** (power + 1)), 3)
        return f"{value / 1024**power:.2g} {('B', 'KiB', 'MiB', 'GiB')[power]}{'/s' if unit == 'Bps' else ''}"
    if unit == "s":
        return f"{value * 1000:.3g} ms" if value < 1 else f"{value:.3g} s"
    return f"{value * 100:.0f} %" if unit == "percentunit" else f"{value:.3g}{'/s' if unit.endswith('ps') else ''}"


def legend(target: dict[str, Any], one: dict[str, Any]) -> str:
    text = target["legendFormat"]
    for label, value in one["metric"].items():
        text = text.replace("{{%s}}" % label, "" if label == "instance" else value)  # noqa: UP031 - braces
    return str(text.strip())


def draw(answers: Path, picture: Path) -> None:
    import matplotlib as mpl  # noqa: PLC0415 - `measure` is another environment
    import matplotlib.pyplot as plt  # noqa: PLC0415 - as above
    from PIL import Image  # noqa: PLC0415 - as above

    mpl.use("Agg")
    plt.rcParams.update({**DARK, "axes.prop_cycle": plt.cycler(color=COLOURS)})
    panels = json.loads(answers.read_text())
    began_s = min(one["values"][0][0] for panel in panels for each in panel["targets"] for one in each["answer"])
    rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels)
    figure = plt.figure(figsize=(12, 11.2))
    for panel in panels:
        place, stat = panel["gridPos"], panel["type"] == "stat"
        pad, height = (0.006 if stat else 0.038), place["h"] / rows
        below = 1 - (place["y"] + place["h"]) / rows
        wide = place["w"] / 24 - pad - 0.018
        axes = figure.add_axes((place["x"] / 24 + pad + 0.012, (below + 0.02) * 0.955, wide, (height - 0.045) * 0.955))
        draw_panel(axes, panel, began_s)
    figure.text(0.012, 0.975, "hubfs", fontsize=13, color="#ffffff", va="center")
    what = "the panels of docs/monitoring/grafana.json, drawn by matplotlib from Prometheus' answers to their queries"
    figure.text(0.07, 0.975, what, fontsize=8, color="#8e8e9a", va="center")
    figure.savefig(picture, dpi=100)
    Image.open(picture).convert("RGB").quantize(96, dither=Image.Dither.NONE).save(picture, optimize=True)


def draw_panel(axes: Any, panel: dict[str, Any], began_s: float) -> None:
    defaults = panel["fieldConfig"]["defaults"]
    unit = defaults["unit"]
    axes.set_title(panel["title"], loc="left", fontsize=8, color="#ffffff", pad=3)
    series = [(legend(target, one), one["values"]) for target in panel["targets"] for one in target["answer"]]
    if panel["type"] == "stat":
        last = shown(float(series[0][1][-1][1]), unit) if series else "no data"
        axes.text(0.5, 0.45, last, ha="center", va="center", fontsize=20, color="#73bf69", transform=axes.transAxes)
        axes.set_xticks([])
        axes.set_yticks([])
        return
    if defaults["custom"]["stacking"]["mode"] == "normal":
        times_s = sorted({at_s for _, values in series for at_s, _ in values})
        heights = [[float(dict(values).get(at_s, 0)) for at_s in times_s] for _, values in series]
        axes.stackplot([at_s - began_s for at_s in times_s], heights, labels=[name for name, _ in series], linewidth=0)
    else:
        for name, values in series:
            axes.plot(
                [at_s - began_s for at_s, _ in values], [float(number) for _, number in values], lw=1.1, label=name
            )
    axes.set_ylim(bottom=0)
    axes.set_xlim(0, READ_S)
    axes.grid(visible=True, lw=0.5)
    axes.yaxis.set_major_formatter(lambda value, _: shown(value, unit))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0f} s")
    if series:
        axes.legend(
            fontsize=5.5,
            ncol=4,
            loc="upper left",
            framealpha=0.35,
            facecolor="#111217",
            edgecolor="none",
            labelcolor="#ccccdc",
            handlelength=1.2,
            columnspacing=1,
        )


if __name__ == "__main__":
    {"measure": measure, "draw": draw}[sys.argv[1]](*map(Path, sys.argv[2:]))
