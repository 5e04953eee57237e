"""What a request meets, under Microsoft's worker and under localhost alike."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import httpx2


async def test_request_and_answer_arrive_whole(client: httpx2.AsyncClient) -> None:
    """Method, route parameters, query, headers and body reach the function; its answer reaches the caller."""
    answer = await client.put("/echo/bob/5", params={"a": "1 2"}, headers={"X-Colour": "red"}, content="héllo".encode())
    expected = {
        "method": "PUT",
        "path": {"name": "bob", "number": "5"},
        "query": {"a": "1 2"},
        "header": "red",
        "body": "héllo",
    }
    assert (201, "green", expected) == (answer.status_code, answer.headers["x-colour"], answer.json())


async def test_route_parameters_are_decoded(client: httpx2.AsyncClient) -> None:
    """A route parameter is decoded, but for a slash; an optional one that is not there is not there."""
    answer = await client.post("/ECHO/b%C3%B6b%20a%2Fb/")
    assert answer.json()["path"] == {"name": "böb a%2Fb"}


async def test_long_headers(client: httpx2.AsyncClient) -> None:
    """A header of 30 KB, such as a token with many groups, gets through."""
    answer = await client.post("/echo/bob", headers={"x-colour": "r" * 30_000})
    assert answer.json()["header"] == "r" * 30_000


async def test_large_body(client: httpx2.AsyncClient) -> None:
    """A body of 3 MB gets through, in both directions."""
    answer = await client.post("/echo/bob", content="b" * 3_000_000)
    assert answer.json()["body"] == "b" * 3_000_000


@pytest.mark.parametrize("path", ["docs", "redoc", "openapi.json"])
async def test_nothing_is_answered_for_the_app(client: httpx2.AsyncClient, path: str) -> None:
    """The paths that FastAPI would answer by itself reach the app's own function."""
    answer = await client.get(f"/{path}")
    assert (404, f"caught {path}") == (answer.status_code, answer.text)


async def test_other_methods_go_to_the_next_function(client: httpx2.AsyncClient) -> None:
    """A method that a function does not take goes to the next function with that route."""
    answer = await client.delete("/echo/bob")
    assert answer.text == "caught echo/bob"


async def test_function_that_raises(client: httpx2.AsyncClient) -> None:
    """A function that raises is an empty 500."""
    answer = await client.get("/fails")
    assert (answer.status_code, answer.content) == (500, b"")


async def test_function_without_async(client: httpx2.AsyncClient) -> None:
    """A function that is not async is called too, in a thread."""
    answer = await client.get("/sync/bob")
    assert answer.text == "sync bob"


async def test_callers_own_invocation_id(client: httpx2.AsyncClient) -> None:
    """A caller's own x-ms-invocation-id confuses nobody: the host sets its own."""
    answer = await client.get("/sync/bob", headers={"x-ms-invocation-id": "mine"})
    assert answer.text == "sync bob"


async def test_server_is_not_named(client: httpx2.AsyncClient) -> None:
    """No answer says what software serves it."""
    answer = await client.get("/sync/bob")
    assert "server" not in answer.headers


async def test_calls_at_the_same_time(client: httpx2.AsyncClient) -> None:
    """Twenty calls that wait for each other each get their own answer."""

    async def call(number: int) -> str:
        return (await client.get(f"/barrier/{number}", headers={"x-number": str(number)})).text

    assert [f"{n} {n}" for n in range(20)] == await asyncio.gather(*map(call, range(20)))
