"""The pictures of docs/performance.md."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from bench.arithmetic import MIB, rounded
from bench.contenders import CONTENDERS
from bench.growth_figures import curve
from bench.rows import ROWS

if TYPE_CHECKING:
    from pathlib import Path

    from bench.record import Record
    from bench.rows import Row

COLOURS: Final = {"gateway": "#0067b8", "direct": "#8a8886", "litellm": "#ca5010", "portkey": "#8764b8"}
TITLES: Final = {contender.name: contender.title for contender in CONTENDERS}
GOAL: Final = "#107c10"
INK: Final = "#323130"
_DOTS_PER_INCH: Final = 110
_ON_LINE: Final = {"facecolor": "white", "edgecolor": "none", "pad": 0.8}


def draw(record: Record, out: Path) -> None:
    """Draw what has been measured, into a folder."""
    import matplotlib as mpl  # noqa: PLC0415 -- measuring does not need it

    mpl.use("Agg")
    mpl.rcParams.update({"font.size": 10, "text.color": INK, "axes.edgecolor": "#c8c6c4", "figure.dpi": _DOTS_PER_INCH})
    _draw_table(record, out / "performance.png")
    if record.growth:
        _draw_growth(record, "callers", out / "performance-in-flight.png")
        _draw_growth(record, "characters", out / "performance-sizes.png")


def size(characters: int) -> str:
    """A size in words."""
    if characters < MIB:
        return f"{characters // 1024} KiB"
    return f"{characters // MIB} MiB" if characters % MIB == 0 else f"{characters / 1e6:.0f} MB"


def _draw_table(record: Record, path: Path) -> None:
    """Small bars for each row, on a scale of their own, with the goal as a line."""
    from matplotlib import pyplot as plt  # noqa: PLC0415

    names = [name for name in record.contenders() if name != "direct"]
    figure, boxes = plt.subplots(3, 3, figsize=(12, 1.1 + 0.62 * 3 * max(2, len(names))))
    for box, row in zip(boxes.flat, ROWS, strict=True):
        _draw_row(box, row, names, record)
    figure.tight_layout(h_pad=1.6, w_pad=2.2)
    figure.savefig(path)
    plt.close(figure)


def _draw_row(box: Any, row: Row, names: list[str], record: Record) -> None:
    found = {name: value for name in names if (value := row.spread(name, record.rounds)) is not None}
    most = max([value.most for value in found.values()] + [row.goal or 0.0])
    for place, name in enumerate(names):
        if (value := found.get(name)) is None:
            box.text(0, place, "  not measured", va="center", fontsize=9)
            continue
        box.barh(place, value.middle, color=COLOURS[name], height=0.62)
        box.plot([value.least, value.most], [place, place], color=INK, linewidth=1)
        box.text(value.most + most * 0.02, place, rounded(value.middle), va="center", fontsize=9, bbox=_ON_LINE)
    better = "more is better" if row.more_is_better else "less is better"
    box.set_title(f"{row.title}\n", fontsize=9.5, loc="left")
    box.text(0, 1.04, ", ".join(filter(None, (row.unit, better))), fontsize=8.5, transform=box.transAxes)
    if row.goal is not None:
        box.axvline(row.goal, color=GOAL, linestyle="--", linewidth=1.2)
        box.text(1, 1.04, f"goal {row.told_goal}", color=GOAL, fontsize=8.5, ha="right", transform=box.transAxes)
    box.set_yticks(range(len(names)), [TITLES[name] for name in names])
    box.set_xlim(0, most * 1.22)
    box.invert_yaxis()
    box.set_xticks([])
    for side in ("top", "right", "bottom"):
        box.spines[side].set_visible(False)


def _draw_growth(record: Record, axis: Any, path: Path) -> None:
    """Latency and memory along an axis, both scales logarithmic."""
    from matplotlib import pyplot as plt  # noqa: PLC0415

    figure, (latency, memory) = plt.subplots(1, 2, figsize=(12, 4.6))
    places: list[int] = []
    for name in record.contenders():
        points = curve(record.growth, name, axis)
        places = places or list(points)
        style = {"color": COLOURS[name], "marker": "o", "markersize": 5, "label": TITLES[name]}
        latency.plot(list(points), [p50 for p50, _ in points.values()], **style)
        if all(peak is not None for _, peak in points.values()):
            memory.plot(list(points), [peak for _, peak in points.values()], **style)
    what = "calls in flight, 4 KiB each" if axis == "callers" else "size of the answer (base64), one in flight"
    for box, title in ((latency, "p50 of a call, ms"), (memory, "peak memory of all processes, MiB")):
        box.set_xscale("log", base=2)
        box.set_yscale("log")
        box.set_xticks(places, [str(place) if axis == "callers" else size(place) for place in places])
        box.minorticks_off()
        box.yaxis.set_major_locator(_few_ticks())
        box.yaxis.set_major_formatter(lambda value, _: f"{value:,g}")
        box.set_title(title, fontsize=11, loc="left")
        box.set_xlabel(what)
        box.grid(visible=True, color="#edebe9", linewidth=0.8)
        least, most = box.get_ylim()
        box.set_ylim(_step_below(least), _step_above(most))
        for side in ("top", "right"):
            box.spines[side].set_visible(False)
    latency.legend(frameon=False, fontsize=9.5)
    figure.tight_layout(w_pad=3)
    figure.savefig(path)
    plt.close(figure)


def _step_below(value: float) -> float:
    """The largest of 1, 2, 5, 10, 20 … that is not above a value."""
    power = 10.0 ** math.floor(math.log10(value))
    return max(step * power for step in (1, 2, 5) if step * power <= value)


def _step_above(value: float) -> float:
    """The smallest of 1, 2, 5, 10, 20 … that is not below a value."""
    power = 10.0 ** math.floor(math.log10(value))
    return min(step * power for step in (1, 2, 5, 10) if step * power >= value)


def _few_ticks() -> Any:
    from matplotlib.ticker import LogLocator  # noqa: PLC0415

    return LogLocator(base=10, subs=(1, 2, 5), numticks=20)
