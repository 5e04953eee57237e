"""Pictures that upstream gives as URLs become base64 where that was asked; nothing that was paid for is lost."""

from __future__ import annotations

import base64
import itertools

import httpx2
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.azure_openai.url_images import MAX_BYTES, with_base64
from core.domain.image_json import ImageJson
from core.domain.outcome import Success
from tests.fakes import FakeTransport, Row, rendered

URL = "https://pictures.example/1.png?sig=abc"


def picture(*items: dict, **top) -> Success:
    value = {"created": 1, **top, "data": list(items)}
    return Success(answer=ImageJson.parse(orjson.dumps(value)), status=201, relayed={"apim-request-id": "abc"})


async def items(given_picture: Success, connection, *, loopback=False) -> list[dict]:
    return rendered((await with_base64(given_picture, connection, loopback=loopback)).answer)["data"]


@settings(deadline=None)
@given(st.binary(min_size=1, max_size=100), st.lists(st.integers(0, 100), max_size=6))
async def test_any_bytes(data, cuts):
    """A picture becomes its base64 exactly, however its bytes arrive."""
    edges = sorted({0, len(data), *(min(cut, len(data)) for cut in cuts)})
    pieces = [data[start:end] for start, end in itertools.pairwise(edges)]

    assert [{"b64_json": base64.b64encode(data).decode()}] == await items(
        picture({"url": URL}), FakeTransport(Row(pieces=pieces))
    )


async def test_the_rest_stays():
    """All other fields stay, and so do items that have base64 already."""
    connection = FakeTransport(Row(pieces=[b"abc"]))
    given_picture = picture({"url": URL, "revised_prompt": "x", "new": [1]}, {"b64_json": "QUJD"}, size="auto")

    made = await with_base64(given_picture, connection, loopback=False)

    expected = [{"b64_json": "YWJj", "revised_prompt": "x", "new": [1]}, {"b64_json": "QUJD"}]
    assert {"created": 1, "size": "auto", "data": expected} == rendered(made.answer)
    assert (201, {"apim-request-id": "abc"}) == (made.status, made.relayed)
    assert len(connection.requests) == 1


async def test_what_is_sent():
    """A picture is fetched with GET and without any credential."""
    connection = FakeTransport(Row(pieces=[b"abc"]))

    await items(picture({"url": URL}), connection)

    (request,) = connection.requests
    assert ("GET", URL, b"") == (request.method, str(request.url), request.content)
    assert {"host", "accept", "accept-encoding", "user-agent"} == set(request.headers)


@pytest.mark.parametrize("spare", [{"b64_json": None}, {"b64_json": ""}])
async def test_an_empty_place_for_base64(spare):
    """A URL beside a `b64_json` that holds nothing is fetched."""
    assert [{"b64_json": "YWJj"}] == await items(picture({"url": URL, **spare}), FakeTransport(Row(pieces=[b"abc"])))


NOT_FETCHED = [
    "http://pictures.example/1.png",
    "ftp://pictures.example/1.png",
    "file:///etc/passwd",
    "//pictures.example/1.png",
    "pictures.example/1.png",
    "data:image/png;base64,QUJD",
    "https://127.0.0.1/1.png",
    "https://169.254.169.254/metadata",
    "https://[::1]/1.png",
    "https://10.0.0.1/1.png",
    "https://localhost/1.png",
    "http://localhost/1.png",
    "https://user:secret@pictures.example/1.png",
    "https://[bad/1.png",
    "",
]


@pytest.mark.parametrize("url", NOT_FETCHED)
async def test_urls_that_are_not_fetched(url):
    """Only https to a named host elsewhere is fetched; any other URL stays as it is."""
    connection = FakeTransport(Row(pieces=[b"abc"]))

    assert [{"url": url}] == await items(picture({"url": url}), connection)
    assert connection.requests == []


@pytest.mark.parametrize("item", [{"url": None}, {"url": 7}, {}, {"revised_prompt": "x"}])
async def test_items_without_a_url(item):
    """An item without a URL stays as it is."""
    assert [item, {"b64_json": "YWJj"}] == await items(picture(item, {"url": URL}), FakeTransport(Row(pieces=[b"abc"])))


@pytest.mark.parametrize(
    ("url", "fetched"),
    [
        ("http://127.0.0.1:7/1.png", True),
        ("http://localhost:7/1.png", True),
        ("http://[::1]:7/1.png", True),
        ("http://pictures.example/1.png", False),
        ("http://127.0.0.1.example/1.png", False),
        ("http://169.254.169.254/1.png", False),
    ],
)
async def test_loopback(url, fetched):
    """Where the resource is on this machine, plain http to this machine is fetched, and no other."""
    connection = FakeTransport(Row(pieces=[b"abc"]))

    await items(picture({"url": url}), connection, loopback=True)

    assert fetched == bool(connection.requests)


FAILURES = {
    "not reachable": Row(raises=httpx2.ConnectError("ConnectError")),
    "lost": Row(raises=httpx2.ReadError("ReadError")),
    "cut short": Row(pieces=[b"abc", httpx2.ReadError("ReadError")]),
    "404": Row(status=404, pieces=[b"no"]),
    "a redirect": Row(status=302, headers={"location": "https://elsewhere.example"}),
    "empty": Row(),
    "empty pieces": Row(pieces=[b"", b""]),
    "too large": Row(pieces=[bytes(1 << 20)] * ((MAX_BYTES >> 20) + 2)),
}


@pytest.mark.parametrize("row", FAILURES.values(), ids=FAILURES)
async def test_a_failing_download(row):
    """A picture that cannot be fetched keeps its URL, and the others are fetched all the same."""
    connection = FakeTransport(row, Row(pieces=[b"abc"]))

    assert [{"url": URL}, {"b64_json": "YWJj"}] == await items(picture({"url": URL}, {"url": URL}), connection)
    assert connection.open_now == 0


@pytest.mark.parametrize(
    "url",
    [
        "https://host\x01.example/",
        "https://xn--/1.png",
        "https://\u2028/",
        "https://h.example:99999/",
        "https://a b/",
        "https:///1.png",
    ],
)
async def test_a_url_that_cannot_be_sent(connection, url):
    """A URL that the client cannot even build a request for stays as it is."""
    assert [{"url": url}] == await items(picture({"url": url}), connection)


async def test_from_the_emulator(azure, connection):
    """A real picture is fetched over the real connection."""
    text = "QUJD" * 1_000
    shelf = f"{azure.url}/pictures/none.png"

    assert [{"url": shelf}, {"b64_json": text}] == await items(
        picture({"url": shelf}, {"b64_json": text}), connection, loopback=True
    )
