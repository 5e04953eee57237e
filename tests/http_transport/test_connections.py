"""Connections as a server sees them: used again or not, opened when and how many, and closed by whom."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import httpx2
import pytest

from adapters.http.connection_pool import REST_SECONDS
from tests.http_transport.asking import LOST, SOON, Told, ask, leaving_sockets, only_built_in, request
from tests.http_transport.peer import CLOSE, ok, speaking

BEGINS = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nbegins"


# -- what is kept -----------------------------------------------------------------------------------------------------


async def test_a_connection_is_kept(transport):
    """Calls one after the other use one connection."""
    async with speaking(ok()) as peer:
        for _ in range(3):
            assert (200, b"ok") == await ask(transport, peer.url)

        assert [1, 1, 1] == peer.asked_on


@only_built_in("httpx2 takes the one that was opened first")
async def test_the_last_used_is_used_first(transport):
    """Of several idle connections the one is taken that was used last; the others may grow old."""
    first, second = asyncio.Event(), asyncio.Event()
    async with speaking((first, ok()), (second, ok()), ok()) as peer:
        one, two = asyncio.create_task(ask(transport, peer.url)), asyncio.create_task(ask(transport, peer.url))
        await peer.until(lambda peer: len(peer.requests) == 2)
        first.set()
        await asyncio.wait({one, two}, return_when=asyncio.FIRST_COMPLETED)
        second.set()
        await asyncio.gather(one, two)
        for _ in range(3):
            await asyncio.sleep(0.01)  # just after an answer a connection is listened to, and another one is taken
            await ask(transport, peer.url)

        assert 2 == peer.count
        assert {peer.asked_on[1]} == set(peer.asked_on[2:])


async def test_each_origin_has_its_own(transport):
    """A connection is used again for its own host and port only."""
    async with speaking(ok(b"here")) as here, speaking(ok(b"there")) as there:
        for _ in range(2):
            assert (200, b"here") == await ask(transport, here.url)
            assert (200, b"there") == await ask(transport, there.url)

        assert [1, 1] == [here.count, there.count]


@only_built_in("httpx2 closes what has not been read to its end")
async def test_a_body_that_has_come_and_nobody_read(transport):
    """Who leaves with the whole body there leaves a connection that can be used again."""
    async with speaking(ok()) as peer:
        for _ in range(2):
            response = await transport.handle_async_request(request(peer.url))
            assert response.status_code == 200
            await response.aclose()

        assert [1, 1] == peer.asked_on


async def test_a_body_that_is_still_coming(transport):
    """Who leaves while the body is still coming leaves a connection that is closed."""
    async with speaking((BEGINS, asyncio.Event()), ok()) as peer:
        response = await transport.handle_async_request(request(peer.url))
        await response.aclose()
        await peer.until(lambda peer: peer.requests and not peer.open)

        assert (200, b"ok") == await ask(transport, peer.url)


async def test_an_idle_connection_that_the_server_ends(transport):
    """A kept connection that has ended is noticed before anything is sent on it."""
    async with speaking((ok(), CLOSE), ok(b"again")) as peer:
        await ask(transport, peer.url)
        await peer.until(lambda peer: not peer.open)

        assert (200, b"again") == await ask(transport, peer.url)
        assert 2 == len(peer.requests)


async def test_an_idle_connection_grows_old(make):
    """A connection that was idle for too long is not used again."""
    transport = make(keepalive_expiry=0.0)
    async with speaking(ok()) as peer:
        await ask(transport, peer.url)
        await asyncio.sleep(0.01)
        await ask(transport, peer.url)

        assert [1, 2] == peer.asked_on


@only_built_in("httpx2 looks at its connections when it is asked for one")
async def test_an_old_connection_is_closed(make):
    """A connection that was idle for too long is closed, though nobody asks."""
    transport = make(keepalive_expiry=0.02)
    async with speaking(ok()) as peer:
        await ask(transport, peer.url)
        async with asyncio.timeout(SOON):
            await peer.until(lambda peer: not peer.open)


# -- what nobody asked for --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unasked", [ok(b"WRONG"), b"x"], ids=["an answer", "a byte"])
@only_built_in("h11 keeps what came with an answer, and reads it as the next one")
async def test_more_in_the_same_piece(transport, unasked):
    """What comes together with an answer and does not belong to it is nobody's answer."""
    async with speaking((ok(b"first") + unasked,), ok(b"second")) as peer:
        assert (200, b"first") == await ask(transport, peer.url)
        assert (200, b"second") == await ask(transport, peer.url)

        assert [1, 2] == peer.asked_on


async def test_more_after_the_answer(transport):
    """What a server says on an idle connection is never taken for an answer; the connection is closed."""
    async with speaking(ok(), ok(b"again")) as peer:
        await ask(transport, peer.url)
        peer.open[1].write(b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n")
        await peer.open[1].drain()
        told = Told()

        assert (200, b"again") == await ask(transport, peer.url, trace=told)
        assert [1, 2] == peer.asked_on


async def test_more_that_the_loop_has_not_seen(transport):
    """What has come and has not been read yet counts, too: the socket is asked, not only the event loop."""
    async with speaking(ok(), ok(b"again")) as peer:
        await ask(transport, peer.url)
        await asyncio.sleep(0.01)  # by now the connection could be used again at once
        line = peer.open[1].get_extra_info("socket").dup()
        line.send(ok(b"WRONG"))  # and the loop does not run before the next request
        line.close()

        assert (200, b"again") == await ask(transport, peer.url)
        assert [1, 2] == peer.asked_on


@only_built_in("httpx2 asks again at once: of these answers half are wrong")
async def test_a_second_answer_right_behind_the_first(transport):
    """A server that says everything twice, 50 µs apart, gives nobody a wrong answer."""
    server = Path(__file__).parent / "saying_twice.py"
    longest = str(round(REST_SECONDS * 1_000_000))
    process = await asyncio.create_subprocess_exec(
        sys.executable, server, "50", longest, stdout=asyncio.subprocess.PIPE
    )
    try:
        url = (await process.stdout.readline()).decode().strip()
        wrong = set()
        for number in range(1_500):
            _, body = await ask(transport, f"{url}/{number}", method="GET", content=None)
            if body != b"/%d" % number:
                wrong.add(body)
    finally:
        process.kill()
        late, _ = await process.communicate()

    assert wrong <= set(late.split())


# -- how many ---------------------------------------------------------------------------------------------------------


async def test_calls_wait_for_their_turn(narrow):
    """Where all connections are in use, calls wait, and come to their turn in the order in which they came."""
    async with speaking(ok()) as peer:
        response = await narrow.handle_async_request(request(peer.url))
        waiting = [asyncio.create_task(ask(narrow, f"{peer.url}/{number}")) for number in range(3)]
        await asyncio.sleep(0)
        assert 1 == len(peer.requests)
        await response.aread()
        await asyncio.gather(*waiting)

        assert [b"/", b"/0", b"/1", b"/2"] == [text.split()[1] for text in peer.requests]
        assert 1 == peer.count


async def test_a_call_whose_turn_does_not_come(narrow):
    """A call that waits in vain was surely not sent."""
    told = Told()
    async with speaking(ok()) as peer:
        response = await narrow.handle_async_request(request(peer.url))
        with pytest.raises(httpx2.PoolTimeout):
            await ask(narrow, peer.url, trace=told, pool=0.01)
        assert not told.is_sent
        await response.aread()

        assert (200, b"ok") == await ask(narrow, peer.url)
        assert 2 == len(peer.requests)


async def test_idle_connections_make_room(make):
    """Idle connections count, too: one is closed before there are too many."""
    transport = make(max_connections=2)
    async with speaking(ok()) as first, speaking(ok()) as second, speaking(ok()) as third:
        for peer in (first, second, third):
            await ask(transport, peer.url)
        await first.until(lambda peer: not peer.open)

        assert [0, 1, 1] == [len(peer.open) for peer in (first, second, third)]


# -- leaving ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rounds", range(12))
async def test_leaving_while_waiting_for_a_turn(narrow, rounds):
    """Who leaves while he waits, at whatever moment, takes nobody's turn with him."""
    async with speaking(ok()) as peer:
        response = await narrow.handle_async_request(request(peer.url))
        leaving, staying = (asyncio.create_task(ask(narrow, peer.url)) for _ in range(2))
        await asyncio.sleep(0)
        await response.aread()
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


@leaving_sockets
async def test_cancelled_at_any_moment(narrow):
    """Wherever a call is cancelled, from the first address to the answer, its connection and its place come free."""
    async with speaking(asyncio.Event()) as peer:
        for rounds in range(40):
            task = asyncio.ensure_future(ask(narrow, peer.url))
            for _ in range(rounds):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait({task})
            assert task.cancelled()
        await peer.until(lambda peer: not peer.open)
        peer.answers = [(ok(),)]

        assert (200, b"ok") == await ask(narrow, peer.url)


async def test_leaving_in_the_middle_of_the_body(narrow):
    """Who leaves after the first piece closes the connection, and the pool still works."""
    async with speaking((BEGINS, asyncio.Event()), ok()) as peer:
        response = await narrow.handle_async_request(request(peer.url))
        assert b"begins" == await anext(response.aiter_raw())
        await response.aclose()
        await peer.until(lambda peer: not peer.open)

        assert (200, b"ok") == await ask(narrow, peer.url)


@only_built_in("httpx2 closes an answer when a wait for it is cancelled")
async def test_reading_on_after_a_cancelled_wait(transport):
    """Who gave up waiting for a piece can still have it when it comes."""
    gate = asyncio.Event()
    async with speaking((BEGINS[:-6], gate, b"beginning")) as peer:
        response = await transport.handle_async_request(request(peer.url))
        stream = aiter(response.stream)
        waiting = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait({waiting})
        gate.set()

        assert b"beginning" == await anext(stream)
        await response.aclose()


async def test_who_reads_on_after_leaving(transport):
    """Who reads on after closing an answer gets an error, and above all nothing of the next one."""
    async with speaking((BEGINS, asyncio.Event()), ok(b"next")) as peer:
        response = await transport.handle_async_request(request(peer.url))
        stream = aiter(response.stream)
        await response.aclose()
        assert (200, b"next") == await ask(transport, peer.url)
        assert b"begins" == await anext(stream)
        with pytest.raises(LOST):
            await anext(stream)
