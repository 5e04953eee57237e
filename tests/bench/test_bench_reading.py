"""Reading and checking answers: wherever they are cut, and whatever is wrong with them."""

from __future__ import annotations

import pytest

from bench import canned
from bench.reading import LARGE_BYTES, AnswerReader, Checking, Expected, Faulty

SIZE = 64
JSON = b"".join(canned.whole(SIZE, 2))
STREAM = canned.partial_event(SIZE, 0) + canned.completed_event(SIZE, is_first=False)


def read(answer: bytes, expected: Expected, *, cut: int) -> Checking:
    """Feed an answer in pieces of `cut` bytes; it must end with the last one, and not before."""
    reader = AnswerReader()
    body = Checking(expected, thorough=False)
    pieces = [answer[start : start + cut] for start in range(0, len(answer), cut)]
    ends = [reader.feed(memoryview(piece), body) for piece in pieces]
    assert [False] * (len(pieces) - 1) + [True] == ends
    assert reader.is_between
    return body


@pytest.mark.parametrize("cut", [1, 2, 3, 7, 50, 10_000])
def test_json_is_read_wherever_it_is_cut(cut: int) -> None:
    """An answer with two pictures is recognised from pieces of any size."""
    expected = Expected(picture=canned.picture(SIZE), images=2)
    body = read(JSON, expected, cut=cut)
    assert len(JSON) - JSON.index(b"\r\n\r\n") - 4 == body.length == expected.length


@pytest.mark.parametrize("cut", [1, 2, 3, 7, 50, 10_000])
def test_a_stream_is_read_wherever_it_is_cut(cut: int) -> None:
    """Both events of a stream are counted from pieces of any size."""
    body = read(STREAM, Expected(picture=canned.picture(SIZE), images=2, stream=True), cut=cut)
    assert body.events == 2


def test_comments_are_no_events() -> None:
    """A keep-alive line before the first event does not pass for it."""
    body = Checking(Expected(picture=b"", stream=True), thorough=True)
    body.take(memoryview(b": keep-alive\n\n: keep-alive\n"))
    body.take(memoryview(b"\n"))
    assert body.events == 0
    body.take(memoryview(b"data: 1\n\n"))
    assert body.events == 1


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"HTTP/1.1 500 Oh\r\ncontent-length: 2\r\n\r\n{}", "HTTP/1.1 500 Oh: {}"),
        (b"HTTP/1.1 200 OK\r\n\r\n", "without a length"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", "0 pictures, not 2"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", "0 pictures, not 2"),
        (b"".join(canned.whole(SIZE, 1)), "1 pictures, not 2"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + b"x" * 100, "chunk without a size"),
    ],
)
def test_a_wrong_answer_is_told(answer: bytes, why: str) -> None:
    """What is not a good answer does not count, and the fault says why."""
    with pytest.raises(Faulty, match=why):
        AnswerReader().feed(
            memoryview(answer), Checking(Expected(picture=canned.picture(SIZE), images=2), thorough=False)
        )


def test_a_stream_without_its_end_is_told() -> None:
    """Two partial images are not a finished one."""
    partials = canned.partial_event(SIZE, 0) + canned.partial_event(SIZE, 1) + b"0\r\n\r\n"
    with pytest.raises(Faulty, match="without its completed event"):
        read(partials, Expected(picture=canned.picture(SIZE), images=2, stream=True), cut=100)


def test_a_large_answer_is_checked_by_its_length() -> None:
    """Once a large answer has been read to the last character, a later one of another length is a fault."""
    expected = Expected(picture=canned.picture(LARGE_BYTES))
    read(b"".join(canned.whole(LARGE_BYTES, 1)), expected, cut=100_000)
    with pytest.raises(Faulty, match="a body of"):
        read(b"".join(canned.whole(LARGE_BYTES + 400, 1)), expected, cut=100_000)
