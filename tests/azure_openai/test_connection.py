"""The connection against the emulator: what was surely not sent, what may have been, and what is left behind."""

from __future__ import annotations

import asyncio
import socket
from contextlib import aclosing

import orjson
import pytest
from msgspec.structs import replace

from adapters.http.http1 import Http1Connection
from core.azure_openai.connection import HttpRequest, Lost, NotSent
from emulator.fault_responses import REDIRECT_TARGET
from tests.waiting import HANGS_SECONDS

VERSION = "2025-04-01-preview"


def request(url: str, deployment: str = "gpt-image-1", **body) -> HttpRequest:
    return HttpRequest(
        url=f"{url}/openai/deployments/{deployment}/images/generations?api-version={VERSION}",
        headers={"api-key": "emulator-key", "content-type": "application/json"},
        body=orjson.dumps({"prompt": "a red fox", **body}),
    )


async def whole(connection, asked) -> tuple[int, bytes]:
    async with connection.send(asked) as response, aclosing(response.pieces()) as pieces:
        return response.status, b"".join([piece async for piece in pieces])


def closed_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


async def test_an_answer(azure, connection):
    """A request goes out as it is, and its answer comes back piece by piece."""
    status, body = await whole(connection, request(azure.url, "gpt-image-1--fault-bytes-2000000"))

    assert status == 200
    assert len(orjson.loads(body)["data"][0]["b64_json"]) == 2_000_000
    assert azure.calls.last.method == "POST"
    assert azure.calls.last.body == {"prompt": "a red fox"}


async def test_headers_are_found_in_any_case(azure, connection):
    """Headers of an answer are looked up without regard to case."""
    async with connection.send(request(azure.url, "fault-429")) as response:
        assert {"20"} == {response.headers["Retry-After"], response.headers.get("retry-after")}
        assert response.headers.get("no-such-header") is None


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:{closed}", "http://localhost.invalid", "https://127.0.0.1:{closed}", "http://[::1]:{closed}"],
)
async def test_nobody_there(connection, url):
    """A closed port and an unknown host mean that the request was surely not sent."""
    with pytest.raises(NotSent):
        await whole(connection, request(url.format(closed=closed_port())))


async def test_no_handshake(azure, connection):
    """Where TLS does not come about, the request was surely not sent."""
    with pytest.raises(NotSent):
        await whole(connection, request(azure.url.replace("http://", "https://")))

    assert not list(azure.calls)


@pytest.mark.parametrize("scheme", ["ftp", "file", "gopher"])
async def test_another_scheme(connection, scheme):
    """What is not HTTP is not sent."""
    with pytest.raises(NotSent):
        await whole(connection, request(f"{scheme}://localhost"))


UNWRITABLE = {
    "a URL with a control character": HttpRequest(url="https://host\x01.example/", headers={}),
    "a URL with an impossible host": HttpRequest(url="https://xn--/", headers={}),
    "a header beyond ASCII": HttpRequest(url="{azure}/", headers={"api-key": "caf\xe9"}),
    "a header with a line break": HttpRequest(url="{azure}/", headers={"api-key": "a\nb"}),
}


@pytest.mark.parametrize("asked", UNWRITABLE.values(), ids=UNWRITABLE)
async def test_what_cannot_be_written(azure, connection, asked):
    """What cannot be written as a request was surely not sent."""
    with pytest.raises(NotSent):
        await whole(connection, replace(asked, url=asked.url.replace("{azure}", azure.url)))


async def test_no_free_connection(azure, narrow):
    """A call that gets no connection in time was surely not sent."""
    async with narrow.send(request(azure.url)):
        with pytest.raises(NotSent):
            await narrow.send(request(azure.url), lambda: 0.0).__aenter__()

    assert len(azure.calls) == 1


@pytest.mark.parametrize("fault", ["reset", "close"])
async def test_no_answer(azure, connection, fault):
    """A connection that ends before the answer's head leaves open whether the request arrived."""
    with pytest.raises(Lost):
        await whole(connection, request(azure.url, f"fault-{fault}"))

    assert azure.calls.count(f"fault-{fault}") == 1


@pytest.mark.parametrize("fault", ["200-cut", "200-reset"])
async def test_an_answer_that_breaks_off(azure, connection, fault):
    """A body that is cut short is lost, not short."""
    with pytest.raises(Lost):
        await whole(connection, request(azure.url, f"fault-{fault}"))


@pytest.mark.parametrize("fault", ["stream-408-after-1", "stream-reset-after-1"])
async def test_a_stream_that_breaks_off(azure, connection, fault):
    """A stream that is cut short is lost, not short."""
    with pytest.raises(Lost):
        await whole(connection, request(azure.url, f"fault-{fault}", stream=True, partial_images=1))


async def test_what_is_lost_says_no_host(azure, connection):
    """The words of a failure hold neither host nor key."""
    with pytest.raises(Lost) as lost:
        await whole(connection, request(azure.url, "fault-reset"))
    with pytest.raises(NotSent) as not_sent:
        await whole(connection, request("http://localhost.invalid"))

    for failure in (lost, not_sent):
        assert not {"127.0.0.1", "localhost", "emulator-key", "openai"} & set(
            str(failure.value).replace("/", " ").split()
        )
        assert "://" not in str(failure.value)
        assert failure.value.__context__ is None or failure.value.__suppress_context__


async def test_a_redirect(azure, connection):
    """A redirect is an answer like any other: it would choose a host."""
    status, _ = await whole(connection, request(azure.url, "fault-302"))

    assert status == 302
    assert azure.calls.count(REDIRECT_TARGET.split("/")[3]) == 0


async def test_the_environment(azure, monkeypatch):
    """Proxies and .netrc of the environment do not decide where keys are sent."""
    closed = f"http://127.0.0.1:{closed_port()}"
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, closed)
        monkeypatch.setenv(name.lower(), closed)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    connection = Http1Connection(connect_seconds=HANGS_SECONDS)

    status, _ = await whole(connection, request(azure.url, "fault-404"))
    await connection.aclose()

    assert status == 404


async def test_cookies(azure, connection):
    """What one answer sets as a cookie does not go out with the next request: it would tie calls together."""
    await whole(connection, request(azure.url, "fault-404"))
    await whole(connection, request(azure.url, "fault-404"))

    assert [None, None] == [call.header("cookie") for call in azure.calls]


async def test_connections_are_used_again(azure, connection):
    """Two calls, one after the other, use one connection."""
    await whole(connection, request(azure.url, "fault-404"))
    await whole(connection, request(azure.url, "fault-429"))

    first, second = azure.calls
    assert first.connection == second.connection


# -- leaving early ----------------------------------------------------------------------------------------------------


@pytest.fixture
async def narrow():
    """A connection that can hold one call only: what is not freed is missed at once."""
    connection = Http1Connection(connect_seconds=HANGS_SECONDS, most_connections=1)
    yield connection
    await connection.aclose()


async def left(azure) -> None:
    """Wait until the emulator has seen its client leave."""
    async with asyncio.timeout(HANGS_SECONDS):
        await azure.calls.until(lambda calls: not calls.open_now)


async def test_leaving_before_the_body(azure, narrow):
    """Who leaves without reading closes the connection, and the pool still works."""
    async with narrow.send(request(azure.url, "fault-stream-hang-after-1", stream=True, partial_images=1)):
        pass
    await left(azure)

    assert azure.calls.last.state == "left"
    assert (await whole(narrow, request(azure.url, "fault-404")))[0] == 404


async def test_leaving_in_the_middle_of_the_body(azure, narrow):
    """Who leaves after the first piece closes the connection, and the pool still works."""
    asked = request(azure.url, "fault-stream-hang-after-1", stream=True, partial_images=1)
    async with narrow.send(asked) as response, aclosing(response.pieces()) as pieces:
        assert await anext(pieces)
    await left(azure)

    assert azure.calls.last.state == "left"
    assert (await whole(narrow, request(azure.url, "fault-404")))[0] == 404


@pytest.mark.parametrize(
    ("fault", "body"),
    [
        ("hang", {}),
        ("stream-hang-after-0", {"stream": True}),
        ("stream-hang-after-1", {"stream": True, "partial_images": 1}),
    ],
    ids=["before the answer", "before the body", "in the body"],
)
async def test_time_runs_out(azure, narrow, fault, body):
    """A limit that strikes while upstream is silent closes the connection, and the pool still works."""
    limit = asyncio.timeout(None)

    async def limited() -> None:
        async with limit:
            await whole(narrow, request(azure.url, f"fault-{fault}", **body))

    task = asyncio.ensure_future(limited())
    await azure.calls.until(lambda calls: calls.open_now)
    limit.reschedule(asyncio.get_running_loop().time() + 0.05)
    with pytest.raises(TimeoutError):
        await task
    await left(azure)

    assert azure.calls.last.state == "left"
    assert (await whole(narrow, request(azure.url, "fault-404")))[0] == 404


async def test_cancelled_at_any_moment(azure, narrow):
    """Wherever a call is cancelled, its place in the pool comes free."""
    for rounds in range(40):
        task = asyncio.ensure_future(whole(narrow, request(azure.url, "fault-hang")))
        for _ in range(rounds):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    assert (await whole(narrow, request(azure.url, "fault-404")))[0] == 404


async def test_an_exception_of_the_reader(azure, narrow):
    """An exception inside the context comes out as it is, and the pool still works."""
    with pytest.raises(ZeroDivisionError):
        async with narrow.send(request(azure.url, "fault-404")):
            _ = 1 / 0

    assert (await whole(narrow, request(azure.url, "fault-404")))[0] == 404


async def test_closing_what_was_never_opened():
    """A connection that sent nothing can be closed, twice."""
    connection = Http1Connection(connect_seconds=HANGS_SECONDS)
    await connection.aclose()
    await connection.aclose()
