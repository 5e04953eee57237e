"""Connections as upstream sees them: used again or not, opened when and how many, and closed by whom."""

from __future__ import annotations

import asyncio
import socket
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING

import pytest

from adapters.http import pool
from adapters.http.http1 import Http1Connection
from core.azure_openai.connection import HttpRequest, Lost, NoTime, NotSent, NoTurn
from tests.azure_openai.peer import CLOSE, RESET, ok, speaking
from tests.waiting import HANGS_SECONDS

if TYPE_CHECKING:
    from core.azure_openai.connection import Limit

SOON = 0.2
"""Seconds after which is given up what does not come. What must happen before takes a thousandth of that."""

ENDS = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok"
BEGINS = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nbegins"


async def ask(connection: Http1Connection, url: str, limit: Limit | None = None) -> tuple[int, bytes]:
    """Send a request and read its answer whole."""
    request = HttpRequest(url=url, headers={}, body=b"a red fox")
    async with (
        asyncio.timeout(HANGS_SECONDS),
        connection.send(request, limit) as response,
        aclosing(response.pieces()) as pieces,
    ):
        return response.status, b"".join([piece async for piece in pieces])


def limit(seconds: float) -> Limit:
    """As much time from now on as a clock says."""
    ends_at = asyncio.get_running_loop().time() + seconds
    return lambda: max(0.0, ends_at - asyncio.get_running_loop().time())


@pytest.fixture
async def narrow():
    """A connection for one call at a time."""
    connection = Http1Connection(connect_seconds=HANGS_SECONDS, most_connections=1)
    yield connection
    await connection.aclose()


# -- what is kept -----------------------------------------------------------------------------------------------------


async def test_a_connection_is_kept(connection):
    """Calls one after the other use one connection."""
    async with speaking(ok()) as peer:
        for _ in range(3):
            assert (200, b"ok") == await ask(connection, peer.url)

        assert [1, 1, 1] == peer.asked_on


async def test_the_last_used_is_used_first(connection):
    """Of several idle connections the one is taken that was used last; the others may grow old."""
    gate = asyncio.Event()
    async with speaking((gate, ok()), (gate, ok()), ok()) as peer:
        both = asyncio.gather(ask(connection, peer.url), ask(connection, peer.url))
        await peer.until(lambda peer: len(peer.requests) == 2)
        gate.set()
        await both
        for _ in range(3):
            await ask(connection, peer.url)

        assert 2 == peer.count
        assert 1 == len(set(peer.asked_on[2:]))


async def test_each_origin_has_its_own(connection):
    """A connection is used again for its own host and port only."""
    async with speaking(ok(b"here")) as here, speaking(ok(b"there")) as there:
        for _ in range(2):
            assert (200, b"here") == await ask(connection, here.url)
            assert (200, b"there") == await ask(connection, there.url)

        assert [1, 1] == [here.count, there.count]


async def test_an_answer_that_ends_its_connection(connection):
    """A connection whose answer says so is not used again."""
    async with speaking(ENDS) as peer:
        await ask(connection, peer.url)
        await ask(connection, peer.url)

        assert [1, 2] == peer.asked_on


async def test_a_body_that_nobody_read(connection):
    """Who leaves with the whole body there leaves a connection that can be used again."""
    async with speaking(ok()) as peer:
        for _ in range(2):
            async with connection.send(HttpRequest(url=peer.url, headers={})) as response:
                assert response.status == 200

        assert [1, 1] == peer.asked_on


async def test_a_body_that_is_still_coming(connection):
    """Who leaves while the body is still coming leaves a connection that is closed."""
    async with speaking((BEGINS, asyncio.Event()), ok()) as peer:
        async with connection.send(HttpRequest(url=peer.url, headers={})) as response:
            assert response.status == 200
        await peer.until(lambda peer: peer.requests and not peer.open)

        assert (200, b"ok") == await ask(connection, peer.url)


async def test_an_idle_connection_that_upstream_ends(connection):
    """A kept connection that upstream has ended is noticed before anything is sent on it."""
    async with speaking((ok(), CLOSE), ok(b"again")) as peer:
        await ask(connection, peer.url)
        await peer.until(lambda peer: not peer.open)
        for _ in range(9):  # until the loop has looked at its sockets
            await asyncio.sleep(0)
        assert not connection._pool._idle

        assert (200, b"again") == await ask(connection, peer.url)
        assert 2 == len(peer.requests)


async def test_an_idle_connection_that_ends_in_this_moment(connection):
    """A kept connection that has ended, but is still among those that are kept, is passed over."""
    async with speaking(ok()) as peer:
        await ask(connection, peer.url)
        (kept,) = connection._pool._open
        kept.eof_received()

        assert (200, b"ok") == await ask(connection, peer.url)
        assert [1, 2] == peer.asked_on


async def test_an_idle_connection_on_which_upstream_speaks(connection):
    """What upstream says without being asked is never taken for an answer; the connection is closed."""
    async with speaking(ok(), ok(b"again")) as peer:
        await ask(connection, peer.url)
        peer.open[1].write(b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n")
        await peer.until(lambda peer: not peer.open)

        assert (200, b"again") == await ask(connection, peer.url)


@pytest.mark.parametrize("end", [CLOSE, RESET], ids=["closed", "torn down"])
async def test_a_kept_connection_that_ends_on_the_request(connection, end):
    """A request that went out on a kept connection is lost where that ends: nobody asks again by himself."""
    async with speaking(ok(), end) as peer:
        await ask(connection, peer.url)
        with pytest.raises(Lost):
            await ask(connection, peer.url)

        assert 2 == len(peer.requests)


async def test_an_idle_connection_grows_old():
    """A connection that was idle for too long is not used again, and closed though nobody asks."""
    connection = Http1Connection(connect_seconds=HANGS_SECONDS, idle_seconds=0.0)
    async with speaking(ok()) as peer:
        await ask(connection, peer.url)
        await ask(connection, peer.url)
        await peer.until(lambda peer: not peer.open)

        assert [1, 2] == peer.asked_on
    await connection.aclose()


async def test_head(connection):
    """What HEAD is answered has the headers of a body, and none."""
    async with speaking(ok()[:-2]) as peer:
        request = HttpRequest(method="HEAD", url=peer.url, headers={})
        async with asyncio.timeout(HANGS_SECONDS), connection.send(request) as response:
            assert ("2", []) == (response.headers["content-length"], [piece async for piece in response.pieces()])


# -- how many ---------------------------------------------------------------------------------------------------------


async def test_calls_wait_for_their_turn(narrow):
    """Where all connections are in use, calls wait, and come to their turn in the order in which they came."""
    async with speaking(ok()) as peer:
        async with narrow.send(HttpRequest(url=peer.url, headers={})):
            waiting = [asyncio.create_task(ask(narrow, f"{peer.url}/{number}")) for number in range(3)]
            await asyncio.sleep(0)
            assert 1 == len(peer.requests)
        await asyncio.gather(*waiting)

        assert [b"/", b"/0", b"/1", b"/2"] == [request.split()[1] for request in peer.requests]
        assert 1 == peer.count


@pytest.mark.parametrize("whose", ["its own", "the connection's"])
async def test_a_call_whose_turn_does_not_come(narrow, whose):
    """A call that waits in vain, as long as it or the connection may, was surely not sent."""
    async with speaking(ok()) as peer:
        async with narrow.send(HttpRequest(url=peer.url, headers={})):
            if whose == "the connection's":
                narrow._pool._connect_seconds = 0.01  # only now: the first call had all the time it took
            with pytest.raises(NoTurn):
                await ask(narrow, peer.url, limit(0.01) if whose == "its own" else None)

        assert 1 == len(peer.requests)


async def test_idle_connections_make_room():
    """Idle connections count, too: the one that is idle longest is closed before there are too many."""
    connection = Http1Connection(connect_seconds=HANGS_SECONDS, most_connections=2)
    async with speaking(ok()) as first, speaking(ok()) as second, speaking(ok()) as third:
        for peer in (first, second, third):
            await ask(connection, peer.url)
        await first.until(lambda peer: not peer.open)

        assert [0, 1, 1] == [len(peer.open) for peer in (first, second, third)]
    await connection.aclose()


@pytest.mark.parametrize("rounds", range(12))
async def test_leaving_while_waiting_for_a_turn(narrow, rounds):
    """Who leaves while he waits, at whatever moment, takes nobody's turn with him."""
    async with speaking(ok()) as peer:
        async with narrow.send(HttpRequest(url=peer.url, headers={})):
            leaving, staying = (asyncio.create_task(ask(narrow, peer.url)) for _ in range(2))
            await asyncio.sleep(0)
        for _ in range(rounds):
            await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.wait({leaving})

        assert (200, b"ok") == await staying
        assert (200, b"ok") == await ask(narrow, peer.url)


@pytest.mark.parametrize("rounds", range(12))
async def test_leaving_a_kept_connection(narrow, rounds):
    """Who leaves a call on a kept connection, at whatever moment, frees it; what was answered is not mixed up."""
    async with speaking(ok(), ok(b"mine"), ok(b"yours")) as peer:
        await ask(narrow, peer.url)
        leaving = asyncio.create_task(ask(narrow, peer.url))
        for _ in range(rounds):
            await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.wait({leaving})
        answers = [(await ask(narrow, peer.url))[1] for _ in range(2)]

        # A call that was left before it was sent has had no answer.
        assert answers == [b"yours", b"yours"] if len(peer.requests) == 4 else [b"mine", b"yours"]


# -- connecting -------------------------------------------------------------------------------------------------------


async def test_ipv6(connection):
    """A URL may name an IPv6 address."""
    async with speaking(ok(), host="::1") as peer:
        assert (200, b"ok") == await ask(connection, peer.url)
        assert f"host: {peer.url.removeprefix('http://')}".encode() in peer.requests[0]


async def test_a_name_with_several_addresses(connection):
    """A host is reached by its name although not all its addresses answer."""
    async with speaking(ok()) as peer:
        assert (200, b"ok") == await ask(connection, peer.url.replace("127.0.0.1", "localhost"))


async def test_small_writes_are_not_delayed(connection):
    """Requests go out at once: TCP_NODELAY is set."""
    async with speaking(ok()) as peer, connection.send(HttpRequest(url=peer.url, headers={})):
        wire = next(iter(connection._pool._open))
        line = wire._transport.get_extra_info("socket")
        assert line.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.parametrize(
    ("connect_seconds", "own", "enough", "late"),
    [
        (SOON, HANGS_SECONDS, 1.0, NotSent),
        (SOON, None, 1.0, NotSent),
        (HANGS_SECONDS, SOON, SOON, NotSent),
        (HANGS_SECONDS, SOON, 2 * SOON, NoTime),
    ],
)
async def test_a_handshake_that_does_not_come(monkeypatch, connect_seconds, own, enough, late):
    """A connection that is not there in time, TLS included, means that the request was surely not sent.

    That the time was too short is said only where a host that is well might have needed more.
    """
    monkeypatch.setattr(pool, "ENOUGH_SECONDS", enough)
    connection = Http1Connection(connect_seconds=connect_seconds)
    async with speaking(ok()) as peer:
        with pytest.raises(NotSent) as raised:
            await ask(connection, peer.url.replace("http://", "https://"), own and (lambda: own))
        assert late is raised.type
        await peer.until(lambda peer: peer.count and not peer.open)

        assert [] == peer.requests
    await connection.aclose()


async def test_a_call_without_any_time(narrow):
    """A call whose time is over when it has its connection is not sent, and the connection is kept."""
    async with speaking(ok()) as peer:
        await ask(narrow, peer.url)
        with pytest.raises(NoTime):
            await ask(narrow, peer.url, lambda: 0.0)
        await ask(narrow, peer.url)

        assert [1, 1] == peer.asked_on


async def test_a_call_whose_time_is_over_once_it_is_connected(narrow):
    """It is not sent: by then nobody would read what may be paid for."""
    left = iter([1.0, 1.0])
    async with speaking(ok()) as peer:
        with pytest.raises(NoTime):
            await ask(narrow, peer.url, lambda: next(left, 0.0))
        await peer.until(lambda peer: not peer.open)
        assert [] == peer.requests

        assert (200, b"ok") == await ask(narrow, peer.url)


async def test_a_call_that_is_not_sent_does_not_make_its_connection_young():
    """What has been unused for too long is not used again, whoever wanted to meanwhile."""
    connection = Http1Connection(connect_seconds=HANGS_SECONDS, idle_seconds=HANGS_SECONDS)
    async with speaking(ok()) as peer:
        await ask(connection, peer.url)
        ((wires),) = connection._pool._idle.values()
        before = dict(wires)
        with pytest.raises(NoTime):
            await ask(connection, peer.url, lambda: 0.0)

        assert [before] == [*connection._pool._idle.values()]
    await connection.aclose()


async def test_a_limit_that_fails(narrow):
    """A fault in the limit takes nobody's turn with it."""
    async with speaking(ok()) as peer:
        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                await ask(narrow, peer.url, lambda: 1 / 0)

        assert (200, b"ok") == await ask(narrow, peer.url)


@pytest.mark.parametrize(
    ("answers", "limited_to", "expected"), [((ok(),), HANGS_SECONDS, 1), ((ok(),), 0.0, 0)], ids=["sent", "not sent"]
)
async def test_sending_is_told(narrow, answers, limited_to, expected):
    """Before the first byte goes out it is told, once; where none does, never."""
    told = []
    async with speaking(*answers) as peer:
        request = HttpRequest(url=peer.url, headers={})
        with suppress(NotSent):
            async with narrow.send(request, limit(limited_to), lambda: told.append(len(peer.requests))):
                pass

        assert [0] * expected == told


async def test_connections_on_their_way_count():
    """There are never more connections than allowed, those that are only being opened included."""
    connection = Http1Connection(connect_seconds=HANGS_SECONDS, most_connections=4)
    async with speaking(ok()) as first, speaking(ok()) as second:
        await asyncio.gather(*(ask(connection, first.url) for _ in range(3)))
        assert 3 == len(first.open)
        most = 0
        calls = [asyncio.ensure_future(ask(connection, second.url)) for _ in range(4)]
        while not all(call.done() for call in calls):
            await asyncio.sleep(0)
            most = max(most, len(first.open) + len(second.open))

        assert 4 == most
    await connection.aclose()


async def test_an_answer_that_does_not_begin(narrow):
    """A call whose answer does not begin in time may have arrived; its connection is closed."""
    async with speaking(asyncio.Event()) as peer:
        with pytest.raises(TimeoutError):
            await ask(narrow, peer.url, limit(SOON))
        await peer.until(lambda peer: not peer.open)

        assert 1 == len(peer.requests)


# -- the end ----------------------------------------------------------------------------------------------------------


async def test_closing_loses_what_is_in_flight():
    """Closing ends calls in flight, and everything else that is open; afterwards nothing is sent."""
    connection = Http1Connection(connect_seconds=HANGS_SECONDS)
    async with speaking(ok(), (BEGINS, asyncio.Event())) as peer:
        async with connection.send(HttpRequest(url=peer.url, headers={})):
            in_flight = asyncio.create_task(ask(connection, peer.url))
            await peer.until(lambda peer: len(peer.requests) == 2)
            await connection.aclose()
            with pytest.raises(Lost):
                await in_flight
        await peer.until(lambda peer: not peer.open)
        with pytest.raises(NotSent):
            await ask(connection, peer.url)

        assert {asyncio.current_task()} == {
            task for task in asyncio.all_tasks() if "serve" not in repr(task.get_coro())
        }


async def test_closing_while_connecting():
    """A call that is still connecting when all is closed is not sent."""
    connection = Http1Connection(connect_seconds=HANGS_SECONDS)
    async with speaking(ok()) as peer:
        connecting = asyncio.create_task(ask(connection, peer.url))
        await asyncio.sleep(0)
        await connection.aclose()
        with pytest.raises(NotSent):
            await connecting

        assert [] == peer.requests
