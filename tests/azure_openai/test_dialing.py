"""Connecting by the first address that answers: in which order, and what becomes of the others."""

from __future__ import annotations

import asyncio

import pytest

from adapters.http.dialing import first_connected, in_turn

FOREVER = 3600.0


class Line:
    """Stands for a wire."""

    def __init__(self) -> None:
        self.is_open = True

    def abort(self) -> None:
        self.is_open = False


class Address:
    """An address that is tried: `answer` decides whether and when it answers."""

    def __init__(self) -> None:
        self.line = Line()
        self.answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.begun = asyncio.Event()
        self.was_left = False

    async def attempt(self) -> Line:
        self.begun.set()
        try:
            await self.answer
        except asyncio.CancelledError:
            self.was_left = True
            raise
        return self.line

    def refuses(self) -> None:
        self.answer.set_exception(ConnectionRefusedError())


@pytest.fixture
async def addresses():
    return [Address() for _ in range(3)]


def dialled(addresses, seconds=FOREVER) -> asyncio.Task[Line]:
    return asyncio.ensure_future(first_connected([address.attempt for address in addresses], seconds))


async def settled() -> None:
    """Let what has been ended come to its end."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_the_first_answers(addresses):
    """If the first address answers, no other is tried."""
    first, second, _ = addresses
    dialling = dialled(addresses)
    await first.begun.wait()
    first.answer.set_result(None)

    assert first.line is await dialling
    assert first.line.is_open
    assert not second.begun.is_set()


async def test_the_first_refuses(addresses):
    """If an address refuses, the next one is tried at once."""
    first, second, third = addresses
    dialling = dialled(addresses)
    first.refuses()
    await second.begun.wait()
    second.answer.set_result(None)

    assert second.line is await dialling
    assert not third.begun.is_set()


async def test_the_first_is_silent(addresses):
    """If an address takes too long, the next is tried beside it; the first to answer wins, and the others are left."""
    first, second, third = addresses
    dialling = dialled(addresses, seconds=0)
    await third.begun.wait()
    second.answer.set_result(None)

    assert second.line is await dialling
    await settled()
    assert [True, False, True] == [address.was_left for address in (first, second, third)]
    assert second.line.is_open


async def test_all_refuse(addresses):
    """If no address answers, the failure of the first is told."""
    first, second, third = addresses
    dialling = dialled(addresses)
    first.answer.set_exception(TimeoutError())
    second.refuses()
    third.refuses()

    with pytest.raises(TimeoutError):
        await dialling


async def test_two_answer_at_once(addresses):
    """If two answer in the same moment, one is taken and the other closed."""
    dialling = dialled(addresses, seconds=0)
    await addresses[2].begun.wait()
    for address in addresses:
        address.answer.set_result(None)

    taken = await dialling
    await settled()
    assert [taken] == [address.line for address in addresses if address.line.is_open]


@pytest.mark.parametrize("answers", [False, True], ids=["while all are silent", "as one answers"])
async def test_leaving(addresses, answers):
    """Who leaves ends every attempt; what has just been connected is closed."""
    first, _, third = addresses
    dialling = dialled(addresses, seconds=0)
    await third.begun.wait()
    if answers:
        first.answer.set_result(None)
        await asyncio.sleep(0)
    dialling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await dialling

    await settled()
    assert all(address.was_left or not address.line.is_open for address in addresses)


def test_families_take_turns():
    """Addresses are tried in the system's order, but never two of one family where the other has one left."""
    found = [(10, "::1"), (10, "::2"), (2, "1.1.1.1"), (10, "::1"), (10, "::3"), (2, "2.2.2.2")]

    assert ["::1", "1.1.1.1", "::2", "2.2.2.2", "::3"] == in_turn(found)
