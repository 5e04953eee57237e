"""`python -m bench.clients`: the gateway over other HTTP clients in the place of its own, for docs/performance.md.

The figures lie in docs/clients.json, beside those of the bench.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import subprocess
import time
from typing import TYPE_CHECKING, Any, Final

from bench import installing, machine, measuring, page, rows
from bench.arithmetic import spread
from bench.contenders import Direct, Gateway, Start
from bench.other_clients import CLIENTS
from bench.processes import ROOT, Cores, clean_environment

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bench.canned import Kind
    from bench.rows import Turn

FIGURES: Final = ("one_ms", "many_rps", "middle_mbps", "large_cpu_ms", "drawn_first_ms", "idle_mib", "start_s")
"""The rows of the table that depend on the client."""
IMPORT_RUNS: Final = 7
_IMPORT: Final = """
import time
import adapters.bootstrap
began_at = time.process_time()
from bench.other_clients import CLIENTS
import asyncio
async def make():
    CLIENTS[{name!r}][1](5.0)
asyncio.run(make())
print((time.process_time() - began_at) * 1000)
"""


class OverClient(Gateway):
    """The gateway over one of the clients."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.title = CLIENTS[name][0]

    def start(self, port: int, upstream: int, kinds: Sequence[Kind]) -> Start:
        """As `make serve`, with the same settings."""
        return Start(
            command=[python(), "-m", "bench.other_clients", self.name, str(port)],
            env=clean_environment(self.settings(upstream, kinds)),
        )


def python() -> Path:
    """The interpreter that has the gateway's packages and the clients'."""
    return installing.CLIENTS / "bin" / "python"


def import_ms(name: str) -> float:
    """What importing a client and making it costs beside the gateway, in ms of CPU: the median of some processes."""
    times = []
    for _ in range(IMPORT_RUNS + 1):
        done = subprocess.run(
            [python(), "-c", _IMPORT.format(name=name)], cwd=ROOT, check=True, capture_output=True, text=True
        )
        times.append(float(done.stdout))
    found = spread(times[1:])  # the first writes byte code
    if found is None:
        raise AssertionError("something was measured")
    return found.middle


def measured(rounds: int, seconds: float) -> dict[str, Any]:
    """Measure every client in turn, `rounds` times."""
    installing.install("clients")
    cores = Cores.of_this_machine()
    contenders = [Direct(), *map(OverClient, CLIENTS)]
    turns: list[dict[str, Turn]] = []
    quiet = [machine.look(cores)]
    began_at = time.monotonic()
    with measuring.upstream(cores) as behind:
        for number in range(1, rounds + 1):
            turns.append({})
            for contender in contenders:
                print(
                    f"{time.monotonic() - began_at:6.0f} s  round {number} of {rounds}: {contender.title}", flush=True
                )
                with measuring.served(contender, behind, cores, rows.KINDS) as served:
                    turns[-1][contender.name] = turn = rows.take_turn(served, seconds)
                if turn.faults:
                    raise SystemExit(f"{contender.title}: {turn.faults}")
            quiet.append(machine.look(cores))
    return {
        "made_on": dt.datetime.now(dt.UTC).date().isoformat(),
        "rounds": rounds,
        "seconds": seconds,
        "versions": installing.python_packages(installing.CLIENTS),
        "work_ms": [round(each.work_ms, 1) for each in quiet],
        "others_cores": round(max(each.others_cores for each in quiet), 2),
        "rows": [
            {
                "title": f"{row.title} ({row.unit})" if row.unit else row.title,
                "values": {name: value.middle for name in CLIENTS if (value := row.spread(name, turns)) is not None},
            }
            for row in rows.ROWS
            if row.figure in FIGURES
        ],
        "import_ms": {name: import_ms(name) for name in CLIENTS},
    }


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(prog="python -m bench.clients", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--seconds", type=float, default=2.0, help="for each measurement; default: %(default)s")
    options = parser.parse_args()
    record = measured(options.rounds, options.seconds)
    (ROOT / "docs" / page.CLIENTS_RECORD).write_text(json.dumps(record, indent=1) + "\n")
    page.write(ROOT / "docs")
    print(f"Written: docs/{page.CLIENTS_RECORD}, docs/performance.md")


if __name__ == "__main__":
    main()
