"""docs/scaling.md: what one instance holds and what a million pictures a day need, on paper, from the measured figures.

Facts about the platform are Microsoft's: "Azure Functions Flex Consumption plan" (memory and cores of an instance, what
the host gets besides, how many instances there may be) and "Azure OpenAI quotas and limits". Output tokens and prices
are OpenAI's.
"""

# ruff: noqa: RUF001 -- the text is for people: a multiplication sign is one

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bench.arithmetic import MIB, rounded
from bench.wording import SCALING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.memory import Formula
    from bench.record import Record

INSTANCE_MIB: Final = 2048
USABLE: Final = 0.8
"""How much of an instance is planned with."""
CONCURRENCIES: Final = (32, 64, 100)
PER_DAY: Final = 1_000_000
DAY_SECONDS: Final = 86_400
PEAK: Final = 3
"""The busiest hour over the day's mean."""
DRAWING_SECONDS: Final = 40
"""How long a call is drawn; 10 to 60 s are typical of 1024 x 1024."""
PICTURE_MB: Final = 2.0
"""A picture of 1024 x 1024; its base64 is in the middle of the usual 1.5 to 4 MB."""
OUTPUT_TOKENS: Final = 1056
"""Of a square picture in medium quality."""
DOLLARS_PER_MILLION: Final = 30
QUOTAS: Final = (("gpt-image-1, -1-mini, -1.5", 9, 12), ("gpt-image-2", 5, 6))
"""Family, and the calls a minute of one deployment in the first tier, from and to."""
CALLS: Final = (
    # what a call asks for, and the MB of all its pictures
    ("1024², 2 MB", PICTURE_MB),
    ("1024², n = 4", 4 * PICTURE_MB),
    ("1024², n = 10", 10 * PICTURE_MB),
    ("4K, 25 MB (33 MB of base64)", 24.75),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One instance of the gateway."""

    formula: Formula
    concurrency: int = 64

    @property
    def usable_mb(self) -> float:
        """The memory that is planned with, in MB."""
        return INSTANCE_MIB * USABLE * MIB / 1e6

    def most_calls(self, picture_mb: float) -> int:
        """How many calls fit if the pictures of all of them are in flight in the same moment."""
        each = self.formula.at(calls=1, picture_mb=picture_mb) - self.formula.idle_mb
        return int((self.usable_mb - self.formula.idle_mb) / each)

    def needed(self, per_second: float) -> int:
        """How many instances carry so many calls a second (Little's law: in flight = rate x time)."""
        return math.ceil(per_second * DRAWING_SECONDS / self.concurrency)


def page(record: Record) -> str | None:
    """The page; None where memory, or a row that it needs, was not measured."""
    formula = record.formula()
    cpu, rate = record.row("large_cpu_ms", "gateway"), record.row("many_rps", "gateway")
    if formula is None or cpu is None or rate is None:
        return None
    instance = Instance(formula=formula)
    ends = instance.concurrency / DRAWING_SECONDS
    mean = PER_DAY / DAY_SECONDS
    count = instance.needed(mean * PEAK)
    return SCALING.format(
        instance=f"{INSTANCE_MIB:,}",
        usable_share=USABLE,
        usable=rounded(instance.usable_mb),
        idle=rounded(formula.idle_mb),
        call=rounded(formula.call_mb),
        factor=f"{formula.factor:.2f}",
        memory_table="\n".join(_memory_table(instance)),
        concurrency=instance.concurrency,
        drawing=DRAWING_SECONDS,
        ends=rounded(ends),
        cpu=rounded(cpu.middle),
        cpu_a_second=rounded(ends * cpu.middle),
        busy=f"{ends * cpu.middle / 1000:.1%}",
        full=rounded(1000 / cpu.middle),
        small=rounded(rate.middle),
        day_table="\n".join(_day_table(instance, cpu.middle)),
        count=count,
        each=rounded(mean * PEAK / count),
        each_mb=rounded(formula.at(calls=instance.concurrency, picture_mb=PICTURE_MB)),
        mean_a_minute=rounded(mean * 60),
        busiest_a_minute=rounded(mean * PEAK * 60),
        quota_table="\n".join(_quota_table(mean * 60)),
        ends_a_minute=rounded(ends * 60),
        deployments=int(ends * 60 // QUOTAS[0][2]),
        quota=QUOTAS[0][2],
        per_day=f"{PER_DAY:,}",
        tokens=f"{OUTPUT_TOKENS:,}",
        price=DOLLARS_PER_MILLION,
        cost=f"{PER_DAY * OUTPUT_TOKENS * DOLLARS_PER_MILLION / 1e6:,.0f}",
    )


def _memory_table(instance: Instance) -> Iterator[str]:
    yield f"| MB, with | {' | '.join(f'{each} calls' for each in CONCURRENCIES)} | most calls at once |"
    yield f"|---|{'--:|' * (len(CONCURRENCIES) + 1)}"
    for title, picture_mb in CALLS:
        needs = [instance.formula.at(calls=count, picture_mb=picture_mb) for count in CONCURRENCIES]
        cells = [f"{rounded(need)}{'' if need <= instance.usable_mb else ' ✗'}" for need in needs]
        yield f"| {title} | {' | '.join(cells)} | {instance.most_calls(picture_mb):,} |"


def _day_table(instance: Instance, cpu_ms: float) -> Iterator[str]:
    mean = PER_DAY / DAY_SECONDS
    yield "| | the day's mean | busiest hour |"
    yield "|---|--:|--:|"
    for title, factor in (
        (f"pictures a second: {PER_DAY:,} / {DAY_SECONDS:,}; × {PEAK}", 1.0),
        (f"in flight, at {DRAWING_SECONDS} s each", DRAWING_SECONDS),
        (f"cores, at {rounded(cpu_ms)} ms of CPU each", cpu_ms / 1000),
        (f"MB/s from upstream, and again to callers, at 4/3 × {PICTURE_MB:g} MB each", PICTURE_MB * 4 / 3),
    ):
        yield f"| {title} | {rounded(mean * factor)} | {rounded(mean * PEAK * factor)} |"
    instances = [instance.needed(rate) for rate in (mean, mean * PEAK)]
    yield f"| **instances**, at {instance.concurrency} calls each | **{instances[0]}** | **{instances[1]}** |"


def _quota_table(mean_a_minute: float) -> Iterator[str]:
    yield "| family | calls a minute | targets for the mean | for the busiest hour |"
    yield "|---|--:|--:|--:|"
    for family, least, most in QUOTAS:
        cells = [
            f"{math.ceil(need / most)} to {math.ceil(need / least)}" for need in (mean_a_minute, mean_a_minute * PEAK)
        ]
        yield f"| {family} | {least} to {most} | {' | '.join(cells)} |"
