"""How queues are polled: `extensions.queues` of host.json (Azure Functions docs, "host.json", queues).

Names, defaults and bounds are the real host's (azure-sdk-for-net, QueuesOptions), which does not start with values out
of bounds either. `maxPollingInterval` is not read: where somebody is waiting, see `Listener`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from localhost.settings import StartError

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_AT_ONCE: Final = 32
"""The most messages that Azure Storage gives at once."""
LONGEST_SECONDS: Final = 7 * 24 * 3600
"""The longest that Azure Storage keeps a message invisible."""

_SPAN: Final = re.compile(r"(?:(?P<days>\d+)\.)?(?P<hours>\d{1,2}):(?P<minutes>\d{2}):(?P<seconds>\d{2}(?:\.\d{1,7})?)")
_SECONDS_IN: Final = {"days": 86_400, "hours": 3_600, "minutes": 60, "seconds": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueOptions:
    """How the queues of an app are polled."""

    batch_size: int = 16
    """How many messages are taken at once."""
    new_batch_threshold: int = 8
    """At how many messages in hand, or fewer, more are taken."""
    max_dequeue_count: int = 5
    """How often a message is tried before it is poison."""
    visibility_timeout: float = 0.0
    """Seconds between two tries."""
    is_base64: bool = True
    """Whether messages are bytes as base64, else text as it is."""

    @classmethod
    def read(cls, host_json: Mapping[str, Any]) -> QueueOptions:
        """Read them from host.json. Raises StartError."""
        given = host_json.get("extensions", {}).get("queues", {})
        batch_size = _number(given, "batchSize", cls().batch_size, 1, MOST_AT_ONCE)
        encoding = str(given.get("messageEncoding", "base64"))
        if encoding.lower() not in {"base64", "none"}:
            raise _wrong("messageEncoding", encoding, '"base64" or "none"')
        return cls(
            batch_size=batch_size,
            new_batch_threshold=_number(given, "newBatchThreshold", batch_size // 2, 0, None),
            max_dequeue_count=_number(given, "maxDequeueCount", cls().max_dequeue_count, 1, None),
            visibility_timeout=_seconds(given, "visibilityTimeout"),
            is_base64=encoding.lower() == "base64",
        )


def _wrong(name: str, value: object, allowed: str) -> StartError:
    return StartError(f"host.json: extensions.queues.{name} is {value!r}; give {allowed}")


def _number(given: Mapping[str, Any], name: str, default: int, least: int, most: int | None) -> int:
    value = given.get(name, default)
    if type(value) is not int or value < least or (most is not None and value > most):
        raise _wrong(name, value, f"a whole number from {least}" + ("" if most is None else f" to {most}"))
    return value


def _seconds(given: Mapping[str, Any], name: str) -> float:
    value = given.get(name, "00:00:00")
    found = _SPAN.fullmatch(value) if isinstance(value, str) else None
    seconds = sum(float(part) * _SECONDS_IN[unit] for unit, part in found.groupdict("0").items()) if found else -1.0
    if not 0 <= seconds <= LONGEST_SECONDS:
        raise _wrong(name, value, '"hh:mm:ss", at most 7 days')
    return seconds
