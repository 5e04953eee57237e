"""Which functions are started by which queue, and where that queue is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from localhost.azurite import WELL_KNOWN
from localhost.settings import StartError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from azure.functions.queue import QueueMessage

    from localhost.functions import Function

# REST reference, "Naming queues and metadata".
_NAME: Final = re.compile(r"(?=.{3,63}$)[a-z0-9]+(?:-[a-z0-9]+)*")
_POISON: Final = "-poison"


@dataclass(frozen=True, kw_only=True)
class QueueFunction:
    """A function that messages of a queue start."""

    name: str
    queue: str
    connection: str
    """The setting that says where the queue is."""
    is_binary: bool
    """Whether messages are bytes that need not be text."""
    call: Callable[[QueueMessage], Coroutine[Any, Any, object]]

    @classmethod
    def of(cls, function: Function) -> QueueFunction | None:
        """Read a function's trigger; None: it is not a queue. Raises StartError."""
        trigger = function.trigger("queueTrigger")
        if trigger is None:
            return None
        if not _NAME.fullmatch(trigger["queueName"]):
            raise StartError(
                f"function {function.name}: {trigger['queueName']!r} is no name of a queue; "
                "give 3 to 63 of a-z, 0-9 and single dashes between them"
            )
        return cls(
            name=function.name,
            queue=trigger["queueName"],
            connection=trigger.get("connection") or "AzureWebJobsStorage",
            is_binary=str(trigger.get("dataType")).upper() == "BINARY",
            call=function.caller(trigger["name"], "(arg_name), and other bindings are not served here"),
        )

    @property
    def poison(self) -> str | None:
        """The queue for messages that failed too often; None: this is one, or its name is too long to have one."""
        name = self.queue + _POISON
        return None if self.queue.endswith(_POISON) or not _NAME.fullmatch(name) else name


def connection_string(function: QueueFunction, environment: Mapping[str, str]) -> str | None:
    """Return where a function's queue is; None: with an identity only, which this machine does not have.

    As the real host it looks for `AzureWebJobsNAME` first. Raises StartError if there is no such setting.
    """
    for setting in (f"AzureWebJobs{function.connection}", function.connection):
        if value := environment.get(setting):
            return WELL_KNOWN if value.rstrip("; ").lower() == "usedevelopmentstorage=true" else value
    if any(setting.startswith(f"{function.connection}__") for setting in environment):
        return None
    raise StartError(
        f"function {function.name} is started by queue {function.queue}, and {function.connection} does not say where "
        "that is; set it to a connection string, such as UseDevelopmentStorage=true"
    )
