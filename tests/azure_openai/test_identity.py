"""Tokens of the app's managed identity: fetched once, kept, renewed in time, and never told."""

from __future__ import annotations

import asyncio
import time

import httpx2
import orjson
import pytest

from adapters.http.managed_identity import ManagedIdentity
from core.azure_openai.token_source import NoIdentity, NoToken
from core.domain.secret import Secret
from tests.fakes import Clock, FakeTransport, Row

HEADER = "emulator-identity-header"
LIFE = 3_600


def answer(token="token-1", expires_on=1_000 + LIFE, **fields) -> Row:
    body = {"access_token": token, "expires_on": str(expires_on), "token_type": "Bearer", **fields}
    return Row(pieces=[orjson.dumps(body)])


DOWN = Row(raises=httpx2.ConnectError("ConnectError"))


def identity(
    connection, clock, *, endpoint="http://127.0.0.1:41/token", header=HEADER, client_id=None
) -> ManagedIdentity:
    return ManagedIdentity(connection, endpoint=endpoint, header=Secret(header), client_id=client_id, time=clock)


async def tokens(managed, times=1) -> list[str]:
    return [(await managed.token()).reveal() for _ in range(times)]


# -- against the emulator ---------------------------------------------------------------------------------------------


async def test_a_token(azure, connection):
    """The platform's endpoint is asked for a token for Azure OpenAI, as App Service wants to be asked."""
    managed = identity(connection, time.time, endpoint=f"{azure.url}/identity/token")

    assert ["emulator-entra-token"] * 2 == await tokens(managed, 2)
    (call,) = azure.calls.of_kind("identity")
    assert ("GET", 200) == (call.method, call.status)
    assert {"resource": "https://ai.azure.com", "api-version": "2019-08-01"} == call.query


async def test_a_user_assigned_identity(azure, connection):
    """A user-assigned identity is asked for by its client id."""
    managed = identity(connection, time.time, endpoint=f"{azure.url}/identity/token", client_id="id & more")

    await managed.token()

    assert azure.calls.last.query["client_id"] == "id & more"


async def test_a_wrong_header(azure, connection):
    """An endpoint that says no is told by its status, without the header that was sent."""
    managed = identity(connection, time.time, endpoint=f"{azure.url}/identity/token", header="a-wrong-one")

    with pytest.raises(NoToken, match=r"400") as failure:
        await managed.token()

    assert "a-wrong-one" not in str(failure.value)


# -- against fakes ----------------------------------------------------------------------------------------------------


async def test_a_token_is_kept():
    """A token is fetched once and kept until five minutes before its end."""
    clock = Clock(1_000)
    connection = FakeTransport(answer("token-1"), answer("token-2", 1_000 + 2 * LIFE))
    managed = identity(connection, clock)

    assert ["token-1"] * 3 == await tokens(managed, 3)
    clock.pass_by(LIFE - 301)
    assert ["token-1"] == await tokens(managed)
    assert len(connection.requests) == 1
    clock.pass_by(1)
    assert ["token-2"] * 2 == await tokens(managed, 2)
    assert len(connection.requests) == 2


async def test_many_callers_at_once():
    """Concurrent callers share one request."""
    gate = asyncio.Event()
    connection = FakeTransport(Row(gate=gate, pieces=answer().pieces))
    managed = identity(connection, Clock(1_000))
    callers = [asyncio.ensure_future(managed.token()) for _ in range(20)]
    await asyncio.sleep(0)
    gate.set()

    found = await asyncio.gather(*callers)

    assert {"token-1"} == {token.reveal() for token in found}
    assert len(connection.requests) == 1


async def test_one_of_many_callers_leaves():
    """A caller that leaves takes nobody's token away."""
    gate = asyncio.Event()
    connection = FakeTransport(Row(gate=gate, pieces=answer().pieces))
    managed = identity(connection, Clock(1_000))
    first, second = (asyncio.ensure_future(managed.token()) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    gate.set()

    assert (await second).reveal() == "token-1"


FAILURES = {
    "not reachable": DOWN,
    "lost": Row(raises=httpx2.ReadError("ReadError")),
    "cut short": Row(pieces=[b'{"access_', httpx2.ReadError("ReadError")]),
    "503": Row(status=503, pieces=[b"secret-token"]),
    "a redirect": Row(status=302, headers={"location": "http://elsewhere.example"}),
    "HTML": Row(pieces=[b"<html>secret-token</html>"]),
    "empty": Row(),
    "a list": Row(pieces=[b'["secret-token"]']),
    "null": Row(pieces=[b"null"]),
    "no token": Row(pieces=[b'{"expires_on":"9999999999"}']),
    "no end": Row(pieces=[b'{"access_token":"secret-token"}']),
    "an end that is no number": Row(pieces=[b'{"access_token":"secret-token","expires_on":"tomorrow"}']),
    "an end that is null": Row(pieces=[b'{"access_token":"secret-token","expires_on":null}']),
    "a token that is null": Row(pieces=[b'{"access_token":null,"expires_on":"9999999999"}']),
    "a token that is a number": Row(pieces=[b'{"access_token":7,"expires_on":"9999999999"}']),
    "an empty token": Row(pieces=[b'{"access_token":"","expires_on":"9999999999"}']),
    "a token that has ended": Row(pieces=[b'{"access_token":"secret-token","expires_on":"5"}']),
    "an end that is nan": Row(pieces=[b'{"access_token":"secret-token","expires_on":"nan"}']),
    "too long": Row(pieces=[b'{"access_token":"secret-token","x":"', *[b"x" * 65_536] * 4]),
}


@pytest.mark.parametrize("row", FAILURES.values(), ids=FAILURES)
async def test_no_token(row):
    """An endpoint that gives no valid token is an error whose words hold no secret."""
    connection = FakeTransport(row)
    managed = identity(connection, Clock(1_000))

    with pytest.raises(NoToken) as failure:
        await managed.token()

    assert str(failure.value)
    assert not any(secret in str(failure.value) for secret in ("secret-token", HEADER, "127.0.0.1"))
    assert failure.value.__cause__ is None
    assert failure.value.__suppress_context__
    assert connection.open_now == 0


@pytest.mark.parametrize("row", FAILURES.values(), ids=FAILURES)
async def test_an_outage_before_the_end(row):
    """While a token is still valid, an outage of the endpoint does no harm."""
    clock = Clock(1_000)
    managed = identity(FakeTransport(answer(), row), clock)
    await managed.token()
    clock.pass_by(LIFE - 1)

    assert ["token-1"] == await tokens(managed)


async def test_an_outage_at_the_end():
    """A token that has ended is not used any more."""
    clock = Clock(1_000)
    managed = identity(FakeTransport(answer(), DOWN), clock)
    await managed.token()
    clock.pass_by(LIFE)

    with pytest.raises(NoToken):
        await managed.token()


async def test_after_an_outage():
    """Once the endpoint is back, there are tokens again."""
    managed = identity(FakeTransport(DOWN, answer()), Clock(1_000))
    with pytest.raises(NoToken):
        await managed.token()

    assert ["token-1"] == await tokens(managed)


@pytest.mark.parametrize("passed", [0, LIFE - 1], ids=["no token", "a token that is still valid"])
async def test_many_callers_in_an_outage(passed):
    """Concurrent callers share one failed request too: each waiting for its own would add up to minutes."""
    clock = Clock(1_000)
    gate = asyncio.Event()
    gone = Row(gate=gate, raises=httpx2.ConnectError("ConnectTimeout"))
    connection = FakeTransport(*([answer()] if passed else []), gone)
    managed = identity(connection, clock)
    if passed:
        await managed.token()
        clock.pass_by(passed)
        connection.requests.clear()
    callers = [asyncio.ensure_future(managed.token()) for _ in range(20)]
    await asyncio.sleep(0)
    gate.set()

    await asyncio.gather(*callers, return_exceptions=True)

    assert len(connection.requests) == 1


async def test_an_app_without_identity():
    """An app without a managed identity is told which settings would help."""
    with pytest.raises(NoToken, match=r"AZURE_OPENAI_API_KEY"):
        await NoIdentity().token()


async def test_a_token_is_a_secret():
    """Neither a token nor its keeper shows it."""
    managed = identity(FakeTransport(answer("very-secret")), Clock(1_000))

    token = await managed.token()

    assert "very-secret" not in f"{token} {token!r} {managed!r} {vars(managed)!r}"
