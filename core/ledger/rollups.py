"""The sums that this process keeps in the ledger, in rows that nobody else writes.

Each transaction writes calls and the sums that hold them, so the two never differ. Sums are written whole, not added
to what is there: writing a transaction again changes nothing, so none has to be asked after whose fate is unknown.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from msgspec import Struct

from core.ledger.totals import Totals
from core.storage.row_keys import rollup_key
from core.storage.tables import MAX_CHANGES, Put, Row

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Container, Iterable, Mapping

    from core.ledger.entry import Entry
    from core.storage.tables import Value

_RollupKey = tuple["dt.date", str]
"""The day and deployment of sums."""


class PendingCall:
    """One call that waits to be written. It is made ready when it is written: nobody waits for that."""

    def __init__(self, entry: Entry) -> None:
        self._entry = entry

    @property
    def day(self) -> dt.date:
        """The day that it counts for."""
        return self._entry.day

    @cached_property
    def row(self) -> Row:
        """Its row. The key is drawn here, once: written twice it is the same row."""
        return self._entry.row()

    @cached_property
    def totals(self) -> Mapping[str, Totals]:
        """What it adds to the sums of each deployment."""
        return self._entry.totals()

    @property
    def is_sound(self) -> bool:
        """Whether it can be made ready at all."""
        try:
            return bool(self.row) and bool(self.totals)
        except Exception:  # noqa: BLE001 -- whatever it is, the ledger has told of it and must not meet it again
            return False


class Batch(Struct, frozen=True, kw_only=True):
    """One transaction."""

    partition: str
    changes: tuple[Put, ...]
    lines: int
    """How many calls are in it."""
    after: Mapping[_RollupKey, Totals]
    """What the sums are once it is written."""


class _RollupRow(Struct):
    """One row of sums."""

    key: str
    totals: Totals


class Rollups:
    """The rows of sums of this process."""

    def __init__(self, *, max_partitions: int = 1_000, max_rows: int = 1_000) -> None:
        """Beyond `max_partitions`, and `max_rows` in one, sums are let go; later calls begin new rows."""
        self._rows: dict[str, dict[_RollupKey, _RollupRow]] = {}
        self._most_partitions = max_partitions
        self._most_rows = max_rows

    def batch(self, partition: str, lines: Iterable[PendingCall]) -> Batch:
        """Put as many lines as fit, from the first on, into one transaction with their sums."""
        own = self._rows.setdefault(partition, {})
        after: dict[_RollupKey, Totals] = {}
        calls: list[Put] = []
        for line in lines:
            touched = {(line.day, deployment) for deployment in line.totals}
            if len(calls) + 1 + len(after.keys() | touched) > MAX_CHANGES:
                break
            calls.append(Put(row=line.row))
            for deployment, totals in line.totals.items():
                of = (line.day, deployment)
                if of not in own:
                    # The key is drawn before the first try, and kept for the next one.
                    own[of] = _RollupRow(rollup_key(line.day, deployment), Totals())
                after[of] = after.get(of, own[of].totals) + totals
        rows = (Row(partition=partition, key=own[of].key, values=_values(of, totals)) for of, totals in after.items())
        return Batch(
            partition=partition, changes=(*calls, *(Put(row=row) for row in rows)), lines=len(calls), after=after
        )

    def written(self, batch: Batch, *, needed: Container[str]) -> None:
        """Note that a transaction has been made. `needed` are the partitions for which lines still wait."""
        own = self._rows.pop(batch.partition)
        for of, totals in batch.after.items():
            own[of].totals = totals
        if len(own) <= self._most_rows:
            self._rows[batch.partition] = own  # the last again
        spare = len(self._rows) - self._most_partitions
        for partition in [each for each in self._rows if each not in needed][: max(0, spare)]:
            del self._rows[partition]

    def forget(self, partition: str) -> None:
        """Begin new rows for a partition: nobody knows what is in the old ones."""
        self._rows.pop(partition, None)


def _values(of: _RollupKey, totals: Totals) -> dict[str, Value]:
    day, deployment = of
    return {"day": day.isoformat(), "deployment": deployment, **totals.values()}
