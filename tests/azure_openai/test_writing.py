"""A request as it goes over the wire, and what is refused before a byte of it does."""

from __future__ import annotations

import pytest

from adapters.http.writing import Origin, written
from core.azure_openai.connection import HttpRequest, NotSent


def lines(request: HttpRequest) -> tuple[list[bytes], bytes]:
    """The lines of a request's head, and its body."""
    head, _, body = written(request)[1].partition(b"\r\n\r\n")
    return head.split(b"\r\n"), body


def test_a_request():
    """Target, host, headers in lower case, length and body are written as they are given."""
    request = HttpRequest(
        url="https://sweden.openai.azure.com/openai/x?api-version=1&b=%2F",
        headers={"Api-Key": "secret", "accept": "application/json", "accept-encoding": "gzip", "user-agent": "me"},
        body=b'{"prompt":"a red fox"}',
    )

    assert Origin(secure=True, host="sweden.openai.azure.com", port=443) == written(request)[0]
    expected = [
        b"POST /openai/x?api-version=1&b=%2F HTTP/1.1",
        b"host: sweden.openai.azure.com",
        b"accept: application/json",
        b"accept-encoding: gzip",
        b"user-agent: me",
        b"api-key: secret",
        b"content-length: 22",
    ]
    assert (expected, b'{"prompt":"a red fox"}') == lines(request)


def test_what_nobody_said():
    """A request that says no more asks for plain bytes of any kind, names its sender, and without a body no length."""
    expected = [
        b"GET / HTTP/1.1",
        b"host: a.example",
        b"accept: */*",
        b"accept-encoding: identity",
        b"user-agent: azure-openai-image-gateway",
    ]

    assert (expected, b"") == lines(HttpRequest(method="GET", url="http://a.example", headers={}))
    assert b"content-length: 0" in lines(HttpRequest(url="http://a.example", headers={}))[0]


PLACES = {
    "http://a.example": (Origin(False, "a.example", 80), b"a.example", b"/"),
    "HTTP://A.example/": (Origin(False, "a.example", 80), b"a.example", b"/"),
    "https://a.example:443/b": (Origin(True, "a.example", 443), b"a.example", b"/b"),
    "http://a.example:443/b": (Origin(False, "a.example", 443), b"a.example:443", b"/b"),
    "https://a.example?c=d": (Origin(True, "a.example", 443), b"a.example", b"/?c=d"),
    "https://a.example/b?": (Origin(True, "a.example", 443), b"a.example", b"/b"),
    "https://a.example/b?c#d": (Origin(True, "a.example", 443), b"a.example", b"/b?c"),
    "http://[::1]:8080/b": (Origin(False, "::1", 8080), b"[::1]:8080", b"/b"),
    "https://[2001:DB8::1]": (Origin(True, "2001:db8::1", 443), b"[2001:db8::1]", b"/"),
    "http://127.0.0.1:7072//b": (Origin(False, "127.0.0.1", 7072), b"127.0.0.1:7072", b"//b"),
}


@pytest.mark.parametrize(("url", "place"), PLACES.items(), ids=PLACES)
def test_where_it_goes(url, place):
    """A URL says to whom to connect, how to name the host, and what to ask it for."""
    request = HttpRequest(method="GET", url=url, headers={})
    origin, host, target = place

    assert origin == written(request)[0]
    assert [b"GET " + target + b" HTTP/1.1", b"host: " + host] == lines(request)[0][:2]


@pytest.mark.parametrize(
    "url",
    [
        "",
        "a.example",
        "/b",
        "ftp://a.example",
        "file:///etc/passwd",
        "https://",
        "https:///b",
        "https://:443/",
        "https://user@a.example/",
        "https://user:password@a.example/",
        "https://@a.example/",
        "https://a.example:https/",
        "https://a.example:65536/",
        "https://a.example/b c",
        "https://a.example/b\r\nx-admin: 1",
        "https://a.example/b\nc",
        "https://a.example\t/b",
        "https://a.example/b\x00",
        "https://\xe4.example/",
        "https://a.example/\xe4",
        "https://[::1/",
        "https://[fe80::1%25eth0]/",
        "https://a.example,b.example/",
        " https://a.example/",
    ],
)
def test_a_url_that_cannot_be_asked(url):
    """What is no plain http or https URL, or would end its line, is not sent."""
    with pytest.raises(NotSent):
        written(HttpRequest(method="GET", url=url, headers={}))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("api-key", "a\r\nx-admin: 1"),
        ("api-key", "a\n"),
        ("api-key", "a\r"),
        ("api-key", "a\x00"),
        ("api-key", "caf\xe9"),
        ("api-key\r\nx-admin", "1"),
        ("api-key:", "1"),
        ("api key", "1"),
        ("", "1"),
        ("caf\xe9", "1"),
        ("Host", "b.example"),
        ("content-length", "1"),
        ("Transfer-Encoding", "chunked"),
        ("connection", "close"),
    ],
)
def test_a_header_that_cannot_be_written(name, value):
    """A header that would end its line, or says something about the message that is said already, is not sent."""
    with pytest.raises(NotSent) as refused:
        written(HttpRequest(url="https://a.example", headers={name: value}))

    assert "1" not in str(refused.value)


@pytest.mark.parametrize("method", ["", "GET /", "GET\r\n"])
def test_a_method_that_cannot_be_written(method):
    """A method is one word."""
    with pytest.raises(NotSent):
        written(HttpRequest(method=method, url="https://a.example", headers={}))
