"""Server-sent events: the examples of WHATWG HTML §9.2, and what Azure's streams add to them."""

from __future__ import annotations

import itertools
import re
import tracemalloc

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.azure_openai.sse import MAX_EVENT_BYTES, EventReader, StreamTooLong
from tests.fakes import rendered

BOM = b"\xef\xbb\xbf"
PIECE = 64 * 1024


def read(*pieces: bytes, end: bool = True) -> list[tuple[str, bytes]]:
    """The events of a stream, as name and data; `end=False`: it has not ended."""
    reader = EventReader()
    events = [event for piece in pieces for event in reader.feed(piece)]
    last = reader.close() if end else None
    return [(event.name, event.text) for event in (*events, *([last] if last else []))]


EXAMPLES = {
    "stock ticker": (b"data: YHOO\ndata: +2\ndata: 10\n\n", [("message", b"YHOO\n+2\n10")]),
    "comment, id, and two spaces": (
        b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
        [("message", b"first event"), ("message", b"second event"), ("message", b" third event")],
    ),
    "field names alone": (b"data\n\ndata\ndata\n\n", [("message", b""), ("message", b"\n")]),
    "the space after the colon is optional": (
        b"data:test\n\ndata: test\n\n",
        [("message", b"test"), ("message", b"test")],
    ),
    "named events": (
        b"event: add\ndata: 73857293\n\nevent: remove\ndata: 2153\n\nevent: add\ndata: 113411\n\n",
        [("add", b"73857293"), ("remove", b"2153"), ("add", b"113411")],
    ),
    "a name is not kept for the next event": (b"event: a\ndata: 1\n\ndata: 2\n\n", [("a", b"1"), ("message", b"2")]),
    "the last name counts": (b"event: a\nevent: b\ndata: 1\n\n", [("b", b"1")]),
    "an empty name is no name": (b"event: a\nevent\ndata: 1\n\n", [("message", b"1")]),
    "a name after the data": (b"data: 1\nevent: late\n\n", [("late", b"1")]),
    "an event without data": (b"event: a\n\nid: 7\n\nretry: 10\n\ndata: 1\n\n", [("message", b"1")]),
    "only comments": (b": keep-alive\n\n:\n\n::::\n\n", []),
    "blank lines": (b"\n\n\ndata: 1\n\n\n\n", [("message", b"1")]),
    "a comment inside an event": (b"data: 1\n: hm\ndata: 2\n\n", [("message", b"1\n2")]),
    "unknown fields": (b"foo: bar\ndatax: 1\nDATA: 2\n data: 3\ndata: 4\n\n", [("message", b"4")]),
    "a long unknown field": (b"x" * 99 + b"data: 1\ndata: 2\n\n", [("message", b"2")]),
    "a long name of a field that begins like one": (b"datadatadatadatadata: 1\ndata: 2\n\n", [("message", b"2")]),
    "colons in data": (b"data: a: b:c\n\n", [("message", b"a: b:c")]),
    "data that is one space": (b"data:  \n\n", [("message", b" ")]),
    "empty lines of data": (b"data: 1\ndata:\ndata: 2\n\n", [("message", b"1\n\n2")]),
    "CR LF": (b"event: a\r\ndata: 1\r\ndata: 2\r\n\r\n", [("a", b"1\n2")]),
    "CR": (b"event: a\rdata: 1\rdata: 2\r\r", [("a", b"1\n2")]),
    "all three line ends": (
        b"data: 1\r\ndata: 2\rdata: 3\n\r\ndata: 4\n\r",
        [("message", b"1\n2\n3"), ("message", b"4")],
    ),
    "LF CR is two line ends": (b"data: 1\n\rdata: 2\n\r", [("message", b"1"), ("message", b"2")]),
    "a byte order mark": (BOM + b"data: 1\n\n", [("message", b"1")]),
    "a byte order mark before a blank line": (BOM + b"\ndata: 1\n\n", [("message", b"1")]),
    "a byte order mark before a comment": (BOM + b": hm\ndata: 1\n\n", [("message", b"1")]),
    "a byte order mark counts only once": (BOM + BOM + b"data: 1\ndata: 2\n\n", [("message", b"2")]),
    "a byte order mark counts only at the start": (b"data: 1\n\n" + BOM + b"data: 2\n\n", [("message", b"1")]),
    "Unicode's line separators are no line ends": (
        'data: {"a":"1\u2028 2\u2029 3\x85 4\x0b\x0c\x1c"}\n\n'.encode(),
        [("message", '{"a":"1\u2028 2\u2029 3\x85 4\x0b\x0c\x1c"}'.encode())],
    ),
    "[DONE] is an event like any other": (b"data: [DONE]\n\n", [("message", b"[DONE]")]),
    "bytes that are not UTF-8": (b"event: \xff\ndata: \xfe\n\n", [("\ufffd", b"\xfe")]),
}


@pytest.mark.parametrize(("stream", "expected"), EXAMPLES.values(), ids=EXAMPLES)
def test_an_example(stream, expected):
    """A stream gives the events that the WHATWG text says."""
    assert expected == read(stream)


@pytest.mark.parametrize(("stream", "expected"), EXAMPLES.values(), ids=EXAMPLES)
def test_an_example_byte_by_byte(stream, expected):
    """The same events come out of a stream that arrives one byte at a time, with empty pieces between."""
    pieces = [stream[at : at + 1] for at in range(len(stream))]

    assert expected == read(*[each for piece in pieces for each in (piece, b"")])


ENDINGS = {
    "no blank line": (b"data: 1\n\ndata: 2\n", [("message", b"1"), ("message", b"2")]),
    "no line end": (b"event: a\ndata: 1", [("a", b"1")]),
    "in the middle of a field's name": (b"data: 1\nda", [("message", b"1")]),
    "a field's name alone": (b"data", [("message", b"")]),
    "after a CR": (b"data: 1\r", [("message", b"1")]),
    "nothing is open": (b"data: 1\n\n", [("message", b"1")]),
    "a name without data": (b"event: a\n", []),
    "a comment": (b": bye", []),
    "nothing at all": (b"", []),
    "a byte order mark alone": (BOM, []),
}


@pytest.mark.parametrize(("stream", "expected"), ENDINGS.values(), ids=ENDINGS)
def test_an_ending(stream, expected):
    """What stands at the end without its blank line is handed out: it may be a picture that was paid for."""
    assert expected == read(stream)


def test_an_event_comes_out_with_its_blank_line():
    """An event is there as soon as its blank line is, not only with the next piece."""
    assert read(b"data: 1\n\n", end=False) == [("message", b"1")]
    assert read(b"data: 1\r\r", end=False) == [("message", b"1")]
    assert read(b"data: 1\r\n\r", end=False) == [("message", b"1")]
    assert read(b"data: 1\n", end=False) == []


@pytest.mark.parametrize(
    "pieces",
    [
        (b"data: 1\r", b"\ndata: 2\r", b"\n\r", b"\n"),
        (b"data: 1\r", b"", b"\ndata: 2\r\n", b"\r\n"),
        (b"data: 1\r", b"data: 2\r", b"\r"),
        (b"data: 1\r\n", b"data: 2\n", b"\n"),
    ],
)
def test_a_split_between_cr_and_lf(pieces):
    """CR and LF in different pieces are one line end."""
    assert read(*pieces) == [("message", b"1\n2")]


def test_a_stream_goes_on_after_close_has_been_asked():
    """Nothing is handed out twice."""
    reader = EventReader()
    assert len(list(reader.feed(b"data: 1\n\n"))) == 1
    assert reader.close() is None
    assert reader.close() is None


# -- any split --------------------------------------------------------------------------------------------------------

LINES = st.sampled_from(
    [
        b"data: 1",
        b"data:",
        b"data",
        b"data:  2",
        b": c",
        b":",
        b"",
        b"",
        b"event: a",
        b"event",
        b"id: 1",
        b"x",
        b"data: \xe2\x80\xa8",
    ]
)
STREAMS = st.builds(
    lambda bom, lines: (BOM if bom else b"") + b"".join(line + end for line, end in lines),
    st.booleans(),
    st.lists(st.tuples(LINES, st.sampled_from([b"\n", b"\r", b"\r\n"])), max_size=12),
)


def plainly_read(stream: bytes) -> list[tuple[str, bytes]]:
    """The rules of WHATWG §9.2.6 as they are written, over the whole stream at once."""
    lines = re.split(rb"\r\n|\r|\n", stream.removeprefix(BOM))
    events, name, data = [], b"", []
    for line in (*lines, b""):  # a last blank line, which a browser would wait for
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if not line:
            if data:
                events.append((name.decode(errors="replace") or "message", b"\n".join(data)))
            name, data = b"", []
        elif field == b"data":
            data.append(value)
        elif field == b"event":
            name = value
    return events


@settings(deadline=None)
@given(STREAMS)
def test_any_stream(stream):
    """A stream gives the events that a plain reading of the rules gives."""
    assert plainly_read(stream) == read(stream)


@settings(deadline=None)
@given(STREAMS, st.lists(st.integers(0, 200), max_size=8))
def test_any_split(stream, cuts):
    """Where a stream is cut into pieces makes no difference."""
    edges = sorted({0, len(stream), *(min(cut, len(stream)) for cut in cuts)})

    pieces = [stream[start:end] for start, end in itertools.pairwise(edges)]

    assert read(stream) == read(*pieces)


@settings(deadline=None)
@given(st.binary(max_size=64), st.integers(0, 64))
def test_any_bytes(stream, cut):
    """No bytes are a fault of the reader."""
    assert read(stream) == read(stream[:cut], stream[cut:])


PICTURE_EVENT = orjson.dumps({"type": "x", "b64_json": "QUJD" * 40, "note": 'say "b64_json": "no"', "n": None})


@settings(deadline=None)
@given(st.lists(st.integers(0, 300), max_size=6))
def test_any_split_of_an_event_with_a_picture(cuts):
    """A picture comes out whole, wherever its event was cut."""
    stream = b"data: " + PICTURE_EVENT + b"\n\n"
    edges = sorted({0, len(stream), *(min(cut, len(stream)) for cut in cuts)})
    reader = EventReader()

    events = [event for start, end in itertools.pairwise(edges) for event in reader.feed(stream[start:end])]

    assert [orjson.loads(PICTURE_EVENT)] == [rendered(event.document) for event in events]


# -- long events ------------------------------------------------------------------------------------------------------


def test_a_long_event_is_in_memory_once():
    """An event of 40 MB in pieces of 64 KiB needs less than 1.3 times its size."""
    size = 40 << 20
    reader = EventReader()
    tracemalloc.start()
    try:
        list(reader.feed(b'event: image_generation.completed\ndata: {"b64_json":"'))
        for number in range(size // PIECE):
            piece = (b"%08d" % number) * (PIECE // 8)  # as from the network: each is a new object
            assert list(reader.feed(piece)) == []
            del piece
        (event,) = reader.feed(b'"}\n\n')
        held = sum(len(part) for part in event.document.render())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert held == size + len('{"b64_json":""}')
    assert peak < 1.3 * size


ONE_MIB = 1 << 20
TOO_LONG = {
    "one line": (b"data: ", b"x" * ONE_MIB),
    "many lines": (b"", b"data: " + b"x" * ONE_MIB + b"\n"),
    "a picture": (b'data: {"b64_json":"', b"x" * ONE_MIB),
    "a name": (b"event: ", b"x" * ONE_MIB),
}


@pytest.mark.parametrize(("start", "more"), TOO_LONG.values(), ids=TOO_LONG)
def test_an_event_without_end(start, more):
    """An event that grows beyond all pictures is given up."""
    reader = EventReader()
    list(reader.feed(start))

    pieces = itertools.repeat(more, MAX_EVENT_BYTES // ONE_MIB + 1)

    with pytest.raises(StreamTooLong):
        list(itertools.chain.from_iterable(map(reader.feed, pieces)))


@pytest.mark.parametrize("line", [b": " + b"x" * ONE_MIB + b"\n", b"data: " + b"x" * ONE_MIB + b"\n\n"])
def test_a_stream_may_be_longer_than_an_event(line):
    """Comments and events that are over do not count towards the length of one."""
    reader = EventReader()
    for _ in range(MAX_EVENT_BYTES // ONE_MIB + 2):
        list(reader.feed(line))

    assert [b"1"] == [event.text for event in reader.feed(b"\n\ndata: 1\n\n")]
