"""Rows as azure-data-tables takes and gives them.

Whole numbers always travel as 64-bit ones, as text: as 32-bit ones they are plain JSON numbers, and what comes back as
such a number is a float that happens to be whole.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from azure.data.tables import EdmType, EntityProperty

from core.storage.tables import Row

if TYPE_CHECKING:
    from azure.data.tables import TableEntity

    from core.storage.tables import Value


def make_entity(row: Row) -> dict[str, Any]:
    """Write a row as an entity."""
    values = {name: _sent(value) for name, value in row.values.items()}
    return {"PartitionKey": row.partition, "RowKey": row.key, **values}


def parse_entity(entity: TableEntity) -> Row:
    """Read a row from an entity: its values, and nothing of the service's own."""
    values = {name: _read(value) for name, value in entity.items() if name not in {"PartitionKey", "RowKey"}}
    return Row(
        partition=entity["PartitionKey"],
        key=entity["RowKey"],
        values=values,
        etag=entity.metadata["etag"] or "",
    )


def _sent(value: Value) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        return EntityProperty(value, EdmType.INT64)
    return value


def _read(value: Any) -> Value:
    match value:
        case EntityProperty():
            return int(value.value)
        case dt.datetime():  # a subclass, which holds the service's text as well
            return dt.datetime.combine(value.date(), value.timetz())
        case bool() | str() | bytes():
            return value
    return float(value)
