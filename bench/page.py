"""`python -m bench.page`: docs/performance.md, docs/scaling.md and the pictures, made from docs/performance.json."""

# ruff: noqa: RUF001 -- the text is for people: a multiplication sign is one

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bench import drawing, scaling
from bench.arithmetic import Spread, rounded
from bench.contenders import CONTENDERS
from bench.growth import IN_FLIGHT, KINDS
from bench.growth_figures import curve
from bench.other_clients import CLIENTS as OTHER_CLIENTS
from bench.processes import ROOT
from bench.record import Record
from bench.rows import ROWS, Row
from bench.wording import CLIENTS, CONDITIONS, HEAD, MEMORY, PEERS, SIZES, WHY_OURS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from bench.memory import Held

TITLES: Final = {contender.name: contender.title for contender in CONTENDERS}
CLIENTS_RECORD: Final = "clients.json"
"""What `python -m bench.clients` has measured."""
ELSEWHERE: Final[Mapping[str, Mapping[str, float]]] = {
    # figure: LiteLLM 1.106 and Portkey 1.15 as measured on another machine of two cores, under the same conditions
    "one_ms": {"litellm": 16.0, "portkey": 1.4},
    "many_rps": {"litellm": 68, "portkey": 718},
    "middle_mbps": {"litellm": 85, "portkey": 47},
    "large_cpu_ms": {"litellm": 34, "portkey": 84},
    "drawn_first_ms": {"litellm": 93, "portkey": 37},
    "idle_mib": {"litellm": 354, "portkey": 83},
    "peak_mib": {"litellm": 522, "portkey": 379},
    "start_s": {"litellm": 8.2, "portkey": 0.44},
}


def write(out: Path) -> None:
    """Make the pages and pictures in a folder from the performance.json that lies there."""
    record = Record.read(out / "performance.json")
    drawing.draw(record, out)
    compared = out / CLIENTS_RECORD
    clients = json.loads(compared.read_text()) if compared.exists() else None
    (out / "performance.md").write_text("\n".join(performance(record, clients)) + "\n")
    if (text := scaling.page(record)) is not None:
        (out / "scaling.md").write_text(text)


def performance(record: Record, clients: Mapping[str, Any] | None = None) -> Iterator[str]:
    """The lines of docs/performance.md; `clients` is what `python -m bench.clients` has measured."""
    yield HEAD
    yield from _table(record)
    yield ""
    yield "![The table as bars](performance.png)"
    yield CONDITIONS.format(seconds=rounded(record.seconds), rounds=len(record.rounds))
    yield from _busy(record)
    yield PEERS
    yield from _elsewhere(record)
    yield from _growth(record)
    yield from _memory(record)
    yield from _clients(clients)
    yield from _machine(record)


def _markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> Iterator[str]:
    """A table whose first column is text and the others figures."""
    yield f"| {' | '.join(head)} |"
    yield f"|---|{'--:|' * (len(head) - 1)}"
    for line in lines:
        yield f"| {' | '.join(line)} |"


def _told(value: Spread | None) -> str:
    if value is None:
        return "–"
    if value.least == value.most:
        return rounded(value.middle)
    return f"{rounded(value.middle)} <sub>{rounded(value.least)}–{rounded(value.most)}</sub>"


def _table(record: Record) -> Iterator[str]:
    names = record.contenders()
    lines = [[_titled(row), row.told_goal, *(_cell(row, name, record) for name in names)] for row in ROWS]
    if (cost := record.imports.get("worker_import_cpu_ms")) is not None:
        least, most = cost["spread"]
        value = Spread(middle=cost["median"], least=least, most=most)
        python = record.imports["python"]
        cells = [_mark(_told(value), reached=value.middle <= 450) if name == "gateway" else "" for name in names]
        lines.append([f"worker import on Python {python} (CPU ms)", "≤ 450 ms", *cells])
    yield from _markdown(["", "goal", *(TITLES[name] for name in names)], lines)
    for name, why in record.left_out.items():
        yield f"\n{TITLES.get(name, name)} was left out: {why.splitlines()[0]}"


def _titled(row: Row) -> str:
    return f"{row.title} ({row.unit})" if row.unit else row.title


def _cell(row: Row, name: str, record: Record) -> str:
    value = row.spread(name, record.rounds)
    if name == "direct":
        # What direct is compared with itself says nothing; its own time does.
        return "" if value is None else f"({rounded(value.middle)})"
    text = _told(value)
    if name != "gateway" or value is None:
        return text
    return _mark(text, reached=row.is_reached(value.middle))


def _mark(text: str, *, reached: bool | None) -> str:
    return text if reached is None else f"**{text}** {'✓' if reached else '✗'}"


def _busy(record: Record) -> Iterator[str]:
    """How busy the second core was: the proof that it is no bottleneck."""
    names = [name for name in record.contenders() if name != "direct"]
    named = dict.fromkeys(step for each in record.rounds for turn in each.values() for step in turn.busy)
    lines = []
    for step in named:
        cells = []
        for name in names:
            busy = [each[name].busy[step] for each in record.rounds if name in each and step in each[name].busy]
            shares = [(cores[0], cores[1] + cores[2]) for cores in busy]
            cells.append(
                f"{100 * max(own for own, _ in shares):.0f} · {100 * max(rest for _, rest in shares):.0f}"
                if shares
                else "–"
            )
        lines.append([step, *cells])
    yield from _markdown(["% of a core: gateway · others", *(TITLES[name] for name in names)], lines)


def _elsewhere(record: Record) -> Iterator[str]:
    rows = {row.figure: row for row in ROWS}
    lines = []
    for figure, values in ELSEWHERE.items():
        cells = []
        for name in ("litellm", "portkey"):
            here = rows[figure].spread(name, record.rounds)
            cells += ["–" if here is None else rounded(here.middle), rounded(values[name])]
        lines.append([_titled(rows[figure]), *cells])
    yield from _markdown(["", "LiteLLM here", "elsewhere", "Portkey here", "elsewhere"], lines)


def _growth(record: Record) -> Iterator[str]:
    if not record.growth:
        return
    yield "\n## How cost grows\n"
    yield "![Latency and memory by calls in flight](performance-in-flight.png)\n"
    yield "![Latency and memory by size of the answer](performance-sizes.png)\n"
    yield SIZES
    names = list(dict.fromkeys(point.contender for point in record.growth))
    lines = []
    for callers in IN_FLIGHT:
        points = {name: curve(record.growth, name, "callers").get(callers) for name in names}
        lines.append([f"{callers} in flight, 4 KiB", *(_point(points[name]) for name in names)])
    for kind in KINDS[1:]:
        points = {name: curve(record.growth, name, "characters").get(kind.characters) for name in names}
        lines.append([f"1 in flight, {drawing.size(kind.characters)}", *(_point(points[name]) for name in names)])
    yield from _markdown(["p50 ms · peak MiB", *(TITLES[name] for name in names)], lines)


def _point(point: tuple[float, float | None] | None) -> str:
    if point is None:
        return "–"
    p50, peak = point
    return rounded(p50) if peak is None else f"{rounded(p50)} · {rounded(peak)}"


def _memory(record: Record) -> Iterator[str]:
    found = record.formula()
    if found is None:
        return
    yield MEMORY.format(idle=rounded(found.idle_mb), call=rounded(found.call_mb), factor=f"{found.factor:.2f}")
    head = ["in flight", "base64, MB", "held, MB", "peak, MB", "peak / base64"]
    yield from _markdown(head, [_case(held) for held in record.memory])


def _case(held: Held) -> list[str]:
    case = held.case
    what = "stream" if case.stream else "JSON"
    images = f" × n={case.images}" if case.images > 1 else ""
    size = drawing.size(case.picture_bytes) if case.picture_bytes < 1_000_000 else f"{case.picture_bytes // 10**6} MB"
    when = "caller does not read" if case.unread else "upstream still sends"
    return [
        f"{case.callers} × {what}{images}, {size}, {when}",
        rounded(case.base64_mb),
        rounded(held.held_mb),
        rounded(held.peak_mb),
        f"{held.factor:.2f}",
    ]


def _clients(found: Mapping[str, Any] | None) -> Iterator[str]:
    """The comparison of HTTP clients."""
    if found is None:
        return
    work = found["work_ms"]
    yield CLIENTS.format(
        made_on=found["made_on"],
        rounds=found["rounds"],
        seconds=rounded(found["seconds"]),
        versions=", ".join(f"{name} {version}" for name, version in found["versions"].items()),
        least=rounded(min(work)),
        most=rounded(max(work)),
        others=found["others_cores"],
    )
    names = list(found["import_ms"])
    lines = [[row["title"], *(rounded(row["values"][name]) for name in names)] for row in found["rows"]]
    lines.append(
        ["to import and make it, beside the gateway (CPU ms)", *(rounded(found["import_ms"][n]) for n in names)]
    )
    yield from _markdown(["", *(OTHER_CLIENTS[name][0] for name in names)], lines)
    yield WHY_OURS


def _machine(record: Record) -> Iterator[str]:
    machine = record.machine
    yield "\n## Machine, versions, noise\n"
    shared = "two threads of one physical core" if machine.threads_of_one_core else "not threads of one physical core"
    pinned = f"pinned, {shared}" if record.pinned else "one core for all: not comparable"
    yield (
        f"{record.made_on}: {machine.cores} cores of an {machine.processor} ({pinned}), {machine.memory_gib} GiB, "
        f"{machine.system}; upstream and load generator on Python {machine.python}.\n"
    )
    for name, versions in record.versions.items():
        if versions:
            told = ", ".join(f"{package} {version}" for package, version in versions.items())
            yield f"- {TITLES[name]}: {told}"
    if record.quiet:
        work, others = [each.work_ms for each in record.quiet], [each.others_cores for each in record.quiet]
        stolen = record.quiet[-1].stolen_seconds - record.quiet[0].stolen_seconds
        yield (
            f"\nNoise, looked at between the rounds: the same loop took {rounded(min(work))} to {rounded(max(work))} ms"
            f" on the gateway's core, something else kept up to {max(others):.2f} cores busy, and in all the machine's"
            f" host took {stolen:.1f} s of CPU away."
        )
    for fault in record.faults():
        yield f"\nWent wrong: {fault}"


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs")
