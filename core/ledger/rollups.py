"""The roll-ups of this process: totals of a day and deployment, in rows of the ledger that only it writes.

Each transaction writes calls and the totals that include them, so the two never differ. Totals are written whole, not
added to what is stored: writing a transaction again changes nothing, so one whose outcome is unknown is just repeated.
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
    """One call that waits to be written. Its row is made only then, when no caller waits for it."""

    def __init__(self, entry: Entry) -> None:
        self._entry = entry

    @property
    def day(self) -> dt.date:
        """The day that it counts for."""
        return self._entry.day

    @cached_property
    def row(self) -> Row:
        """Its row, with a random key that is made once: written twice it is the same row."""
        return self._entry.row()

    @cached_property
    def totals(self) -> Mapping[str, Totals]:
        """What it adds to the totals of each deployment."""
        return self._entry.totals()

    @property
    def is_writable(self) -> bool:
        """Whether its row can be made."""
        try:
            return bool(self.row) and bool(self.totals)
        except Exception:  # noqa: BLE001 -- the ledger has logged it, and must not try again
            return False


class Batch(Struct, frozen=True, kw_only=True):
    """One transaction."""

    partition: str
    changes: tuple[Put, ...]
    lines: int
    """How many calls are in it."""
    after: Mapping[_RollupKey, Totals]
    """The totals once it is written."""


class _RollupRow(Struct):
    """One row of totals."""

    key: str
    totals: Totals


class Rollups:
    """The rows of totals of this process."""

    def __init__(self, *, max_partitions: int = 1_000, max_rows: int = 1_000) -> None:
        """Beyond `max_partitions`, and `max_rows` in one, rows are forgotten; later calls begin new ones."""
        self._rows: dict[str, dict[_RollupKey, _RollupRow]] = {}
        self._most_partitions = max_partitions
        self._most_rows = max_rows

    def batch(self, partition: str, lines: Iterable[PendingCall]) -> Batch:
        """Put as many calls as fit, from the first on, into one transaction with their totals."""
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
                    # The key is made before the first try, and used again for the next one.
                    own[of] = _RollupRow(rollup_key(line.day, deployment), Totals())
                after[of] = after.get(of, own[of].totals) + totals
        rows = (Row(partition=partition, key=own[of].key, values=_values(of, totals)) for of, totals in after.items())
        return Batch(
            partition=partition, changes=(*calls, *(Put(row=row) for row in rows)), lines=len(calls), after=after
        )

    def confirm(self, batch: Batch, *, needed: Container[str]) -> None:
        """Note that a transaction was written. `needed` are the partitions for which calls still wait."""
        own = self._rows.pop(batch.partition)
        for of, totals in batch.after.items():
            own[of].totals = totals
        if len(own) <= self._most_rows:
            self._rows[batch.partition] = own  # the last again
        spare = len(self._rows) - self._most_partitions
        for partition in [each for each in self._rows if each not in needed][: max(0, spare)]:
            del self._rows[partition]

    def forget(self, partition: str) -> None:
        """Begin new rows for a partition, because what is in the old ones is unknown."""
        self._rows.pop(partition, None)


def _values(of: _RollupKey, totals: Totals) -> dict[str, Value]:
    day, deployment = of
    return {"day": day.isoformat(), "deployment": deployment, **totals.values()}
