"""Sending a request, and telling what became of it: surely not sent, perhaps sent, or answered.

The `trace` extension's events tell them apart (HTTPX docs, "extensions"): every httpx2 transport has them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import httpx2

from core.azure_openai.response_reader import timeout_reason
from core.deadline import Deadline
from core.domain.outcome import Failure, FailureReason

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.azure_openai.response_reader import Timeouts

CONNECTING: Final = "connection.connect_tcp.started"
SENDING: Final = "http11.send_request_headers.started"

MIN_CONNECT_SECONDS: Final = 1.0
"""In so much time any host that is well can be connected to: where it cannot, that is not for want of time."""
BUSY_RETRY_SECONDS: Final = 1.0
"""After how long a caller may come again who found all connections in use."""


class _TooLate(Exception):
    """The time is over, and nothing has been sent: nothing is."""


class Sending:
    """One request on its way out."""

    def __init__(
        self, deadline: Deadline, timeouts: Timeouts, *, begins_by: float, on_send: Callable[[], None]
    ) -> None:
        """`begins_by` is when it must have gone out, on the deadline's clock. `on_send` is called as it does."""
        self.sent_at = 0.0
        """On the deadline's clock; 0: surely not sent."""
        self._deadline = deadline
        self._head_by = deadline.within(timeouts.first_byte)
        self._send_by = Deadline(deadline.clock, min(self._head_by.ends_at, begins_by))
        self._connect_seconds = timeouts.connect
        self._connecting_at: float | None = None
        self._on_send = on_send
        self._phase = self._send_by.phase()

    def extensions(self) -> dict[str, Any]:
        """What a transport is told with the request."""
        seconds = self._connect_seconds
        return {"timeout": httpx2.Timeout(None, connect=seconds, pool=seconds).as_dict(), "trace": self._trace}

    async def head(
        self, transport: httpx2.AsyncBaseTransport, request: Callable[[], httpx2.Request]
    ) -> httpx2.Response | Failure:
        """Send it and wait for the head of the answer; or say why there is none.

        Here alone an attempt can come to have surely not been sent: later it may have been paid for.
        """
        try:
            async with self._phase:
                return await transport.handle_async_request(request())
        except _TooLate:
            return Failure(reason=FailureReason.NO_TIME)
        except httpx2.PoolTimeout:
            return _BUSY
        except (TimeoutError, httpx2.ReadTimeout, httpx2.WriteTimeout):
            return self._late()
        except (httpx2.RequestError, httpx2.InvalidURL):
            return Failure(reason=FailureReason.CUT_SHORT if self.sent_at else FailureReason.UNREACHABLE)

    def _late(self) -> Failure:
        """The failure where the time ended before the head came."""
        if self.sent_at:
            return Failure(reason=timeout_reason(self._deadline, FailureReason.NO_FIRST_BYTE))
        if self._connecting_at is None:
            return _BUSY
        waited = self._deadline.clock() - self._connecting_at
        is_enough = waited >= min(MIN_CONNECT_SECONDS, self._connect_seconds)
        return Failure(reason=FailureReason.UNREACHABLE if is_enough else FailureReason.NO_TIME)

    async def _trace(self, event: str, _info: dict[str, Any]) -> None:
        if event in {CONNECTING, SENDING} and self._send_by.is_over:
            raise _TooLate
        if event == CONNECTING:
            self._connecting_at = self._deadline.clock()
        elif event == SENDING:
            self.sent_at = self._deadline.clock()
            self._on_send()
            self._phase.reschedule(self._head_by.left())


_BUSY: Final = Failure(reason=FailureReason.NO_TURN, retry_after=BUSY_RETRY_SECONDS)
