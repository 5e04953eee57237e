"""Stores that are made with their first use: importing Azure's libraries costs 70 to 500 ms of CPU."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, cast

from core.storage.table_rules import check_name

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from core.storage.blobs import Container
    from core.storage.queues import Queue
    from core.storage.tables import Table


class LazyStore:
    """The ports Tables, Blobs and Queues over one that is made with its first use."""

    def __init__(self, make: Callable[[], Any]) -> None:
        """`make` is called once, unless it raises."""
        self._make = cache(make)

    def table(self, name: str) -> Table:
        """Give a table by its name (see Tables.table)."""
        check_name(name)
        return cast("Table", _LazyPart(lambda: self._make().table(name)))

    def container(self, name: str) -> Container:
        """Give a container by its name (see Blobs.container)."""
        return cast("Container", _LazyPart(lambda: self._make().container(name)))

    def queue(self, name: str) -> Queue:
        """Give a queue by its name (see Queues.queue)."""
        return cast("Queue", _LazyPart(lambda: self._make().queue(name)))


class _LazyPart:
    """A table, container or queue, whose methods are all asynchronous."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = cache(make)

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        async def call(*arguments: Any, **options: Any) -> Any:
            return await getattr(self._make(), name)(*arguments, **options)

        return call
