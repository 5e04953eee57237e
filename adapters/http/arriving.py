"""An answer while it comes: one side puts in what it finds in the network, the other waits and takes out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from adapters.http.decoding import decoder
from core.azure_openai.connection import Lost
from core.tasks import Signal

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncGenerator, Iterable, Iterator

    from core.azure_openai.connection import Limit

MOST_UNREAD_BYTES: Final = 256 << 10
"""How much of a body may wait for its reader before no more is read from the network."""


class Headers(Mapping[str, str]):
    """An answer's headers, looked up without regard to case; one that came twice is joined with a comma."""

    __slots__ = ("_values",)

    def __init__(self, fields: Iterable[tuple[bytes, bytes]] = ()) -> None:
        """`fields` are names and values as they came."""
        self._values: dict[str, str] = {}
        for raw_name, raw_value in fields:
            name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1").strip()
            self._values[name] = f"{self._values[name]}, {value}" if name in self._values else value

    def __getitem__(self, name: str) -> str:
        return self._values[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


class ResponseStream:
    """The answer to one request, while it comes: the wire puts in, one reader takes out. It is an HttpResponse."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self.status = 0
        self.headers = Headers()
        self.begun = False
        """Whether its head is there."""
        self.is_whole = False
        """Whether all of it has come, read or not."""
        self._transport = transport
        self._pieces: list[bytes] = []
        self._unread = 0
        self._is_paused = False
        self._failure: str | None = None
        self._is_overdue = False
        self._signal = Signal()

    # -- for the reader --

    async def head(self, limit: Limit | None = None) -> None:
        """Wait until status and headers are there, as long as `limit` then says. Raises Lost or TimeoutError.

        What has come as the time ends is taken, also by a process that stood still meanwhile.
        """
        while not self.begun:
            in_time = await self._news(limit)
            if not in_time and not self.begun:
                raise TimeoutError

    async def pieces(self, limit: Limit | None = None) -> AsyncGenerator[bytes]:
        """The body as it comes (see HttpResponse.pieces)."""
        decode = decoder(self.headers.get("content-encoding", ""))
        while piece := await self._next_piece(limit):
            if decode is None:
                yield piece
            else:
                for decoded in decode.feed(piece):
                    yield decoded
        if decode is not None:
            decode.close()

    async def _next_piece(self, limit: Limit | None) -> bytes:
        """What has come since the last piece, as one: each costs its way through the house. Empty at the end."""
        self._check_time(limit)
        while not self._pieces:
            if self.is_whole:
                return b""
            in_time = await self._news(limit)
            if not in_time and not self._pieces and not self.is_whole:
                raise TimeoutError
        piece = b"".join(self._pieces)  # one alone is not copied
        self._pieces.clear()
        self._unread = 0
        self.resume()
        return piece

    def _check_time(self, limit: Limit | None) -> None:
        """Raise TimeoutError the second time that nothing is left of it.

        An upstream that never pauses is never waited for. What comes as the time ends is still taken.
        """
        if limit is None or self.is_whole or limit() > 0:
            return
        if self._is_overdue:
            raise TimeoutError
        self._is_overdue = True

    async def _news(self, limit: Limit | None) -> bool:
        """Wait until something has come; False: nothing has in time. Raises Lost."""
        if self._failure is not None:
            raise Lost(self._failure)
        return await self._signal.wait(None if limit is None else limit())

    # -- for the wire --

    def begin(self, status: int, headers: Headers) -> None:
        """The head is there."""
        self.status, self.headers, self.begun = status, headers, True
        self._signal.set()

    def add(self, piece: bytes) -> None:
        """A piece of the body is there."""
        self._pieces.append(piece)
        self._unread += len(piece)
        if self._unread > MOST_UNREAD_BYTES and not self._is_paused:
            self._is_paused = True
            self._transport.pause_reading()
        self._signal.set()

    def end(self) -> None:
        """All of the answer has come."""
        self.is_whole = True
        self._signal.set()

    def fail(self, reason: str) -> None:
        """No more of it will come. What has come can still be read, and that is all if it is whole."""
        if self._failure is None:
            self._failure = reason
            self._signal.set()

    def resume(self) -> None:
        """Read from the network again, if that was paused."""
        if self._is_paused:
            self._is_paused = False
            if not self._transport.is_closing():
                self._transport.resume_reading()
