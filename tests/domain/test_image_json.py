"""JSON whose pictures stay where they lie: read, changed, and laid back byte for byte."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from core.domain.image_json import ImageJson, ImageJsonParser, InvalidImageJson, parse_image_json


def rendered(document: ImageJson) -> bytes:
    """The whole text of a document."""
    return b"".join(document.render())


def texts(document: ImageJson) -> list[bytes]:
    """The lifted texts, in the order in which they were found."""
    return [b"".join(parts) for parts in document.literals.values()]


def fed(body: bytes, cuts: list[int]) -> ImageJson:
    """Read a body that comes in pieces, cut at these places."""
    lifter = ImageJsonParser()
    places = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    for start, end in pairwise(places):
        lifter.feed(body[start:end])
    return lifter.document()


# ------------------------------------------------------------------------------------------------ by example


@pytest.mark.parametrize(
    ("body", "lifted"),
    [
        pytest.param(b'{"b64_json":"AAAA"}', [b"AAAA"], id="at the top"),
        pytest.param(b'{"data":[{"b64_json":"AAAA"},{"b64_json":"BBBB"}]}', [b"AAAA", b"BBBB"], id="in items"),
        pytest.param(b'{"b64_json" \t\r\n:\r\n "AAAA" }', [b"AAAA"], id="white space around the colon"),
        pytest.param(b'{"b64_json":"AA\\/BB=="}', [b"AA\\/BB=="], id="escaped slash"),
        pytest.param(b'{"b64_json":""}', [], id="empty"),
        pytest.param(b'{"b64_json":null}', [], id="null"),
        pytest.param(b'{"b64_json":["AAAA"]}', [], id="a list"),
        pytest.param(b'{"b64_json":{"b64_json":"AAAA"}}', [b"AAAA"], id="an object with another"),
        pytest.param(b'{"x\\"b64_json":"AAAA"}', [], id="key that only ends so"),
        pytest.param(b'{"\\"b64_json\\"":"AAAA"}', [], id="key that has the quotes in it"),
        pytest.param(b'{"p":"say \\"b64_json\\": \\"AAAA\\" now"}', [], id="inside a string"),
        pytest.param(b'{"p":"\\\\","b64_json":"AAAA"}', [b"AAAA"], id="after a string that ends in a backslash"),
        pytest.param(b'{"p":"b64_json","q":"AAAA"}', [], id="as a value"),
        pytest.param(b'{"B64_JSON":"AAAA","b64_json2":"A"}', [], id="other names"),
        pytest.param(b'{"b64\\u005fjson":"AAAA"}', [], id="name in escapes"),
    ],
)
def test_literals_are_lifted(body: bytes, lifted: list[bytes]) -> None:
    """The text of every `b64_json` is lifted as it stands, and of nothing else, and what is rendered means the same."""
    document = ImageJson.parse(body)
    assert lifted == texts(document)
    assert json.loads(body) == json.loads(rendered(document))


def test_nothing_is_copied() -> None:
    """A lifted text, and the piece of it that is sent, is a view of the very bytes that came in."""
    body = b'{"created":1,"data":[{"b64_json":"' + b"QUJD" * 1000 + b'"}]}'
    document = ImageJson.parse(body)
    (parts,) = document.literals.values()
    sent = [piece for piece in document.render() if isinstance(piece, memoryview)]
    assert [True] == [part.obj is body for part in parts if isinstance(part, memoryview)]
    assert [True] == [piece.obj is body for piece in sent]
    assert 4000 == sum(piece.nbytes for piece in sent)


def test_pieces_are_not_joined() -> None:
    """A picture that comes in three pieces is sent as three views of those pieces."""
    first, second, third = (letter * 4000 for letter in (b"A", b"B", b"C"))
    pieces = [b'{"b64_json":"' + first, second, third + b'"}']
    lifter = ImageJsonParser()
    for piece in pieces:
        lifter.feed(piece)
    sent = [piece for piece in lifter.document().render() if isinstance(piece, memoryview)]
    assert pieces == [piece.obj for piece in sent]
    assert [first, second, third] == [bytes(piece) for piece in sent]


def test_tiny_pieces_are_joined() -> None:
    """A picture that comes byte by byte is kept in few parts: each costs memory of its own."""
    lifter = ImageJsonParser()
    for byte in b'{"b64_json":"' + b"A" * 100_000 + b'"}':
        lifter.feed(bytes([byte]))
    (parts,) = lifter.document().literals.values()
    assert (2, b"A" * 100_000) == (len(parts), b"".join(parts))


def test_a_byte_order_mark_is_skipped() -> None:
    """A byte order mark before the JSON has been seen, and costs nobody a picture."""
    assert [b"AAAA"] == texts(fed(b'\xef\xbb\xbf{"b64_json":"AAAA"}', [1, 2, 3]))


@pytest.mark.parametrize("after", [b'{"b64_json":"CCCC"},', b'{"url":"x"},' * 300_000], ids=["pictures", "others"])
def test_more_than_is_wanted(after: bytes) -> None:
    """Of more pictures than are wanted, or more text than any answer has, the rest is not looked at."""
    parser = ImageJsonParser(2)
    parser.feed(b'{"created":1,"data":[{"b64_json":"AAAA"},{"b64_json":"BBBB","revised_prompt":"p"},' + after)
    assert parser.is_full
    document = parser.document()
    assert [b"AAAA", b"BBBB"] == texts(document)
    assert {"created": 1, "data": [{"b64_json": "AAAA"}, {"b64_json": "BBBB"}]} == json.loads(rendered(document))


@pytest.mark.parametrize("text", [b"{" + b" " * (3 << 20), b'{"a":[' + b"[]," * 60_000 + b"1]}"], ids=["long", "wide"])
def test_what_is_not_parsed(text: bytes) -> None:
    """What would take the parser long is not given to it."""
    with pytest.raises(InvalidImageJson):
        ImageJson.parse(text)


def test_small_rest_stays_small() -> None:
    """What is parsed does not grow with the picture."""
    lifter = ImageJsonParser()
    lifter.feed(b'{"b64_json":"' + b"A" * 1_000_000)
    lifter.feed(b'"}')
    assert len(lifter.text) < 100
    assert 1_000_015 == lifter.size


def test_a_changed_document() -> None:
    """Marks may be moved about, dropped, and put into another document, and the right picture goes along."""
    first = ImageJson.parse(b'{"b64_json":"AAAA","type":"x"}')
    second = ImageJson.parse(b'{"b64_json":"BBBB"}')
    both = ImageJson(
        {"data": [{"b64_json": second.value["b64_json"]}, {"b64_json": first.value["b64_json"]}]},
        {**first.literals, **second.literals},
    )
    assert b'{"data":[{"b64_json":"BBBB"},{"b64_json":"AAAA"}]}' == rendered(both)
    assert b'{"type":"x"}' == rendered(ImageJson({"type": "x"}, first.literals))


def test_lifting_by_hand() -> None:
    """A text that was made elsewhere is put into a document by `lift`, in the pieces that there are."""
    literals: dict[str, Any] = {}
    mark = parse_image_json([b"AA", memoryview(b"BB")], literals)
    assert b'{"b64_json":"AABB"}' == rendered(ImageJson({"b64_json": mark}, literals))


def test_marks_of_many_documents_differ() -> None:
    """No two texts ever get the same mark."""
    marks = [mark for _ in range(200) for mark in ImageJson.parse(b'{"a":{"b64_json":"A"},"b64_json":"B"}').literals]
    assert 400 == len(set(marks))


def test_a_prompt_cannot_hold_a_mark() -> None:
    """A text that looks like a mark, but is none of ours, is left as it is."""
    mark = ImageJson.parse(b'{"b64_json":"AAAA"}').value["b64_json"]
    alike = "0" * len(mark.partition(":")[0]) + ":0"
    body = json.dumps({"revised_prompt": alike, "b64_json": "AAAA"}).encode()
    assert json.loads(body) == json.loads(rendered(ImageJson.parse(body)))


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b" \n", id="white space"),
        pytest.param(b"[]", id="list"),
        pytest.param(b'[{"b64_json":"AAAA"}]', id="list with a picture"),
        pytest.param(b"null", id="null"),
        pytest.param(b"1", id="number"),
        pytest.param(b'"b64_json"', id="string"),
        pytest.param(b'"b64_json":"AAAA"', id="a member without its object"),
        pytest.param(b"<html><body>502</body></html>", id="HTML"),
        pytest.param(b"{", id="cut in the object"),
        pytest.param(b'{"b64_json":', id="cut before the text"),
        pytest.param(b'{"b64_json":"', id="cut at the text"),
        pytest.param(b'{"b64_json":"AAAA', id="cut in the text"),
        pytest.param(b'{"b64_json":"AAAA"', id="cut after the text"),
        pytest.param(b'{"b64_json":"AAAA\\"}', id="a text whose end is escaped"),
        pytest.param(b'{"b64_json":"AAAA" "BBBB"}', id="two texts"),
        pytest.param(b'{"b64_json":"AAAA"}}', id="a brace too many"),
        pytest.param(b'{"b64_json":"AAAA"}\x00', id="a zero byte behind"),
        pytest.param(b'{"b64_json":"AAAA"}{"b64_json":"AAAA"}', id="two objects"),
        pytest.param(b'{"b64_json":"AA\nAA"}', id="line feed in the text"),
        pytest.param(b'{"b64_json":"AA\rAA"}', id="carriage return in the text"),
        pytest.param(b'{"b64_json":"\nAAAA"}', id="line feed first"),
        pytest.param(b'{"b64_json":"AAAA\r"}', id="carriage return last"),
        pytest.param(b'{"b64_json":"AA\\"\nAA"}', id="line feed behind an escaped quote"),
        pytest.param(b'{"b64_json":"AA\\"BB"}', id="escaped quote in the text"),
        pytest.param(b'{"b64_json":"AA\\\\"}', id="escaped backslash at the end of the text"),
        pytest.param(b'{"a":NaN}', id="NaN"),
        pytest.param(b'{"a":1e400}', id="a number beyond every float"),
        pytest.param(b"{" * 5000, id="without end"),
        pytest.param(b'{"a":' + b"[" * 100_000, id="deep without end"),
    ],
)
def test_what_is_no_document(body: bytes) -> None:
    """Whatever is not one JSON object, whole and on one line in its pictures, is InvalidImageJson, however cut."""
    with pytest.raises(InvalidImageJson):
        ImageJson.parse(body)
    with pytest.raises(InvalidImageJson):
        fed(body, list(range(min(len(body), 200))))


def test_any_depth_that_is_read_can_be_sent() -> None:
    """A document that was read can be rendered, however deep it is; else it is InvalidImageJson from the start."""
    for depth in (100, 250, 300, 1000):
        body = b'{"x":' + b"[" * depth + b"]" * depth + b"}"
        try:
            document = ImageJson.parse(body)
        except InvalidImageJson:
            continue
        assert body == rendered(document)


# ------------------------------------------------------------------------------------------------ by property

_ESCAPED_QUOTE = re.compile(r'"b64_json"\s*:\s*"[^"]*\\"')
_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
_ODD_TEXT = st.sampled_from(
    ['"b64_json":"AAAA"', '\\"b64_json\\"', "\\", '"', "\\\\", "a/b", "", "b64_json", "\n", "\u2028"]
)
_KEYS = st.sampled_from(["b64_json", "url", '"b64_json"', 'x"b64_json', "\\", "b64_json\\", "data"]) | _TEXT
_SPACE = st.text(" \t\r\n", max_size=3) | st.just(" " * 80)
_BASE64 = st.text("ABCxyz019+/=", min_size=1, max_size=20)


@st.composite
def _string(draw: st.DrawFn, text: str) -> str:
    """A JSON string, with the escapes that need not be."""
    written = json.dumps(text, ensure_ascii=draw(st.booleans()))
    return written.replace("/", "\\/") if draw(st.booleans()) else written


@st.composite
def _value(draw: st.DrawFn, depth: int) -> str:
    kinds = ["text", "text", "number", "word", "base64"] + (["list", "object", "object"] if depth else [])
    match draw(st.sampled_from(kinds)):
        case "text":
            return draw(_string(draw(_TEXT | _ODD_TEXT)))
        case "base64":
            return draw(_string(draw(_BASE64)))
        case "number":
            return json.dumps(draw(st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False)))
        case "word":
            return draw(st.sampled_from(["null", "true", "false", '""', "[]", "{}"]))
        case "list":
            items = [draw(_value(depth - 1)) for _ in range(draw(st.integers(0, 3)))]
            return "[" + ",".join(draw(_SPACE) + item + draw(_SPACE) for item in items) + "]"
        case _:
            return draw(_object(depth - 1))


@st.composite
def _object(draw: st.DrawFn, depth: int = 3) -> str:
    members = []
    for _ in range(draw(st.integers(0, 4))):
        key, value = draw(_string(draw(_KEYS))), draw(_value(depth))
        members.append(f"{draw(_SPACE)}{key}{draw(_SPACE)}:{draw(_SPACE)}{value}{draw(_SPACE)}")
    return "{" + ",".join(members) + "}"


@settings(max_examples=200, deadline=None)
@given(_object())
@example('{"b64_json":"A","b64_json":"B"}')
@example('{"b64_json":"A","b64_json":null}')
def test_what_is_read_is_what_is_sent(text: str) -> None:
    """For every JSON object, reading and rendering changes nothing that it means."""
    assume(_ESCAPED_QUOTE.search(text) is None)
    body = text.encode()
    assert json.loads(body) == json.loads(rendered(ImageJson.parse(body)))


@settings(max_examples=200, deadline=None)
@given(_object(), st.lists(st.integers(0, 300), max_size=20))
@example('{"b64_json":"AAAA","c":{"b64_json" : "B\\/B"}}', list(range(60)))
def test_cuts_do_not_matter(text: str, cuts: list[int]) -> None:
    """Wherever the network cuts a JSON object, even inside a character, it means the same."""
    assume(_ESCAPED_QUOTE.search(text) is None)
    body = text.encode()
    assert json.loads(body) == json.loads(rendered(fed(body, cuts)))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60) | st.binary(max_size=30).map(lambda odd: b'{"b64_json":"' + odd))
def test_odd_bytes(body: bytes) -> None:
    """Odd bytes give a document or InvalidImageJson, and no line break is ever sent out of a picture."""
    try:
        document = ImageJson.parse(body)
    except InvalidImageJson:
        return
    assert [] == [text for text in texts(document) if b"\n" in text or b"\r" in text]
    assert isinstance(rendered(document), bytes)


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        (rb'"a\ud83d b"', "a\ufffd b"),
        (rb'"\udc00"', "\ufffd"),
        (rb'"\ud83d\ude00"', "\U0001f600"),
        (rb'"\\ud83d"', r"\ud83d"),
        (b'"\xff"', "\ufffd"),
    ],
    ids=["the first half", "the second half", "both halves", "an escaped backslash", "a byte that is no UTF-8"],
)
def test_half_characters(said: bytes, kept: str) -> None:
    """A broken character beside a picture is replaced; the picture is not lost for it."""
    document = ImageJson.parse(b'{"revised_prompt":' + said + rb',"x":"\ud800","b64_json":"AAAA"}')
    assert (kept, "\ufffd") == (document.value["revised_prompt"], document.value["x"])
    assert [b"AAAA"] == [bytes(part) for parts in document.literals.values() for part in parts]
