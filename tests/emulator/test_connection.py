"""Bytes on a kept connection that belong to no request."""

import asyncio

import pytest

from tests.emulator.asking import VERSION

BODY = b'{"prompt": "A cat"}'


async def exchange(url: str, fault: str) -> tuple[bytes, bytes]:
    """Ask once on a connection of our own; give the body of the answer, and what follows it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
    path = f"/openai/deployments/gpt-image-1--fault-{fault}/images/generations?api-version={VERSION}"
    writer.write(
        f"POST {path} HTTP/1.1\r\nhost: a\r\napi-key: emulator-key\r\ncontent-length: {len(BODY)}\r\n\r\n".encode()
        + BODY
    )
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    length = int(next(line for line in head.split("\r\n") if line.startswith("content-length")).partition(": ")[2])
    body = await reader.readexactly(length)
    after = await reader.readexactly(len("HTTP/1.1") if fault.startswith("unasked") else 7)
    writer.close()
    return body, after


@pytest.mark.parametrize(("fault", "expected"), [("trailing-bytes-7", b"x" * 7), ("unasked-response-50", b"HTTP/1.1")])
async def test_what_follows_a_whole_answer(azure, fault, expected):
    """A whole answer may be followed by some bytes, or by a second answer that nobody asked for."""
    body, after = await exchange(azure.emulator.url, fault)

    assert body.endswith(b"}")
    assert expected == after
