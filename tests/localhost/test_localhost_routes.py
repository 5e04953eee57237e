"""Route templates and the routing table, each row a sentence."""

from __future__ import annotations

import pytest

from localhost.routes import Route, Table, decoded, http_trigger, parse

MATCHES = [
    ("a literal matches itself", "images", "/images", {}),
    ("case does not matter in a literal", "openai/Images", "/OpenAI/images", {}),
    ("case is kept in a value", "images/{id}", "/images/AbC", {"id": "AbC"}),
    ("a trailing slash is ignored", "images/{id}", "/images/7/", {"id": "7"}),
    ("a slash before or after the template is ignored", "/images/", "/images", {}),
    ("two trailing slashes are not ignored", "images/{id}", "/images/7//", None),
    ("an empty segment is no value", "images/{id}/x", "/images//x", None),
    ("a literal does not match the beginning of a segment", "images", "/imagesandmore", None),
    ("a longer path is another path", "images", "/images/7", None),
    ("a shorter path is another path", "images/{id}", "/images", None),
    ("a dot in a template is a dot", "openapi.json", "/openapiXjson", None),
    ("a name may have a dash", "d/{deployment-id}/x", "/d/gpt/x", {"deployment-id": "gpt"}),
    ("a segment with an encoded slash is one segment", "d/{id}", "/d/a%2Fb", {"id": "a%2Fb"}),
    ("a value may have a line break", "d/{id}", "/d/a\nb", {"id": "a\nb"}),
    ("an optional parameter may be there", "d/{id?}", "/d/7", {"id": "7"}),
    ("an optional parameter may be absent, and is not given then", "d/{id?}", "/d", {}),
    ("several may be absent", "d/{a?}/{b?}", "/d/1", {"a": "1"}),
    ("a parameter before a literal is needed, optional or not", "d/{a?}/x", "/d/x", None),
    ("a default stands for what is absent", "d/{id=5}", "/d/", {"id": "5"}),
    ("a default gives way to what is there", "d/{id=5}", "/d/6", {"id": "6"}),
    ("a catch-all takes the rest", "f/{*rest}", "/f/a/b.png", {"rest": "a/b.png"}),
    ("a catch-all keeps a trailing slash", "f/{*rest}", "/f/a/", {"rest": "a/"}),
    ("a catch-all may be absent", "f/{*rest}", "/f", {}),
    ("a catch-all with a trailing slash alone is absent", "f/{*rest}", "/f/", {}),
    ("a catch-all does not begin with a slash", "f/{*rest}", "/f//a", None),
    ("a catch-all with two stars is the same", "f/{**rest}", "/f/a/b", {"rest": "a/b"}),
    ("a catch-all may have a default", "f/{*rest=x}", "/f", {"rest": "x"}),
    ("a catch-all alone takes everything", "{*rest}", "/a/b", {"rest": "a/b"}),
    ("a catch-all alone takes the root", "{*rest}", "/", {}),
    ("a segment may mix text and values", "img-{id}.{kind}", "/img-7.png", {"id": "7", "kind": "png"}),
    ("of mixed values the first takes most", "{a}-{b}", "/x-y-z", {"a": "x-y", "b": "z"}),
    ("a doubled brace is a brace", "a{{b}}", "/a{b}", {}),
]

CONSTRAINTS = [
    ("int is a whole number", "int", ["7", "-7", "+7", "2147483647"], ["7.0", "x", "2147483648", "1_0", "٣"]),
    ("long may be longer", "long", ["2147483648", "-9223372036854775808"], ["9223372036854775808"]),
    ("bool is true or false", "bool", ["true", "False"], ["1", "yes"]),
    ("alpha is a to z", "alpha", ["abC"], ["a1", "ä"]),
    ("decimal has a point, but no exponent", "decimal", ["1.5", "-1", ".5"], ["1e3", "."]),
    ("double has an exponent", "double", ["1.5", "1e-3"], ["1e", "x"]),
    ("float is like double", "float", ["1.5", "1e-3"], ["1e", "x"]),
    ("datetime is a date, with a time or not", "datetime", ["2026-11-22", "2026-11-22T10:00:00Z"], ["x", "13"]),
    ("datetime may be American", "datetime", ["12-31-2026", "12-31-2026 7:32pm"], ["31-12-2026"]),
    (
        "guid may have dashes and brackets",
        "guid",
        ["6F9619FF-8B86-D011-B42D-00CF4FC964FF", "6f9619ff8b86d011b42d00cf4fc964ff"],
        ["6f9619ff", "{6F9619FF-8B86-D011-B42D-00CF4FC964FF"],
    ),
    ("length may be one number", "length(3)", ["abc"], ["ab", "abcd"]),
    ("length may be a range", "length(2, 3)", ["ab", "abc"], ["a", "abcd"]),
    ("minlength", "minlength(2)", ["ab", "abc"], ["a"]),
    ("maxlength", "maxlength(2)", ["a", "ab"], ["abc"]),
    ("min", "min(18)", ["18", "19"], ["17", "x"]),
    ("max", "max(18)", ["18", "-1"], ["19", "1.5"]),
    ("range", "range(1,3)", ["1", "3"], ["0", "4"]),
    ("regex, with its braces doubled", "regex(^\\d{{3}}-[a-z]$)", ["123-a", "123-A"], ["12-a", "123-aa"]),
    ("regex without anchors may match anywhere", "regex(b)", ["abc"], ["xyz"]),
    ("regex may have a comma and a bracket", "regex(^(a|b){{1,2}}$)", ["ab"], ["abc"]),
    ("required", "required", ["x"], []),
    ("names of constraints have no case", "INT", ["7"], ["x"]),
    ("of two constraints both hold", "int:min(5)", ["5"], ["4", "x"]),
]

WRONG = [
    ("a brace is never closed", "a/{id", "partner"),
    ("a brace is never opened", "a/id}", "partner"),
    ("a parameter has no name", "a/{?}", "not a route parameter"),
    ("a constraint is unknown", "a/{id:integer}", "no constraint integer"),
    ("a constraint lacks its argument", "a/{id:min}", "no constraint min"),
    ("a constraint's argument is no number", "a/{id:min(x)}", "no constraint min"),
    ("a regex is none", "a/{id:regex([)}", "no constraint regex"),
    ("a name comes twice", "a/{id}/{ID}", "twice"),
    ("something follows a catch-all", "{*a}/b", "catch-all"),
    ("an optional value is mixed with text", "a-{b?}", "beside other text"),
]


def _ids(rows: list[tuple[object, ...]]) -> list[str]:
    return [str(row[0]) for row in rows]


@pytest.mark.parametrize(("_", "template", "path", "expected"), MATCHES, ids=_ids(MATCHES))
def test_template(_: str, template: str, path: str, expected: dict[str, str] | None) -> None:
    """A template matches a path as ASP.NET's would."""
    assert expected == parse(f"/{template}").match(path)


@pytest.mark.parametrize(("_", "constraint", "good", "bad"), CONSTRAINTS, ids=_ids(CONSTRAINTS))
def test_constraint(_: str, constraint: str, good: list[str], bad: list[str]) -> None:
    """A constraint lets some values through and no others."""
    template = parse(f"{{id:{constraint}}}")
    assert good == [value for value in good + bad if template.match(f"/{value}") is not None]


def test_constraint_of_what_is_absent() -> None:
    """A constraint asks nothing of an optional parameter that is absent; of a default it does."""
    assert parse("{id:int?}").match("/") == {}
    assert parse("{id:int=x}").match("/") is None
    assert parse("a/{*rest:int}").match("/a") is None


@pytest.mark.parametrize(("_", "template", "message"), WRONG, ids=_ids(WRONG))
def test_wrong_template(_: str, template: str, message: str) -> None:
    """A template that ASP.NET would not take is refused, with the reason."""
    with pytest.raises(ValueError, match=message):
        parse(template)


DECODED = [
    ("an escape is what it stands for", b"/a%20b/%C3%BC", "/a b/ü"),
    ("an encoded slash stays encoded, in its own case", b"/a%2Fb%2fc", "/a%2Fb%2fc"),
    ("nothing is decoded twice", b"/a%252Fb", "/a%2Fb"),
    ("what is no escape stays", b"/100%/%zz", "/100%/%zz"),
    ("what is not UTF-8 stays", b"/%FF", "/%FF"),
    ("a plus is a plus", b"/a+b", "/a+b"),
    ("a dot segment is nothing", b"/a/./b", "/a/b"),
    ("two dots go up", b"/a/../b", "/b"),
    ("encoded dots go up as well", b"/a/%2e%2e/b", "/b"),
    ("there is nothing above the root", b"/../../b", "/b"),
]


@pytest.mark.parametrize(("_", "raw", "expected"), DECODED, ids=_ids(DECODED))
def test_decoded(_: str, raw: bytes, expected: str) -> None:
    """A path is decoded once, before routing, as Kestrel does."""
    assert expected == decoded(raw)


def _table(*routes: tuple[str, str] | tuple[str, str, list[str]]) -> Table:
    triggers = [(name, {"route": route, "methods": list(*methods)}) for name, route, *methods in routes]
    return Table.of(Route.of(name, trigger, "api") for name, trigger in triggers)


def test_first_name_wins() -> None:
    """Of two functions that match, the first in the alphabet gets the call, whatever its template."""
    table = _table(("specific", "images/{id}"), ("Anything", "{*path}"))
    assert table.find("GET", "/api/images/7") == ("Anything", {"path": "images/7"})


def test_order_of_definition_is_nothing() -> None:
    """A catch-all with the last name of all comes last, wherever it stands in the app."""
    table = _table(("zz_anything", "{*path}"), ("specific", "images/{id}"))
    assert table.find("GET", "/api/images/7") == ("specific", {"id": "7"})


def test_method_is_part_of_the_match() -> None:
    """A function that does not take the method is passed over; no function that does, and there is none."""
    table = _table(("make", "images", ["POST"]), ("show", "images", ["GET"]))
    assert table.find("GET", "/api/images") == ("show", {})
    assert table.find("DELETE", "/api/images") is None


def test_no_methods_means_every_method() -> None:
    """A function that names no methods takes all, even one that nobody knows."""
    assert _table(("all", "x")).find("BREW", "/api/x") == ("all", {})


def test_function_without_a_route() -> None:
    """A function without a route has its name for one, after the prefix."""
    table = Table.of([Route.of("hello", {"route": None}, "/api/")])
    assert table.find("GET", "/api/Hello") == ("hello", {})
    assert table.find("GET", "/hello") is None


def test_no_prefix() -> None:
    """With an empty prefix, routes begin at the root."""
    table = Table.of([Route.of("hello", {"route": "x"}, "")])
    assert table.find("GET", "/x") == ("hello", {})


def test_trigger_among_bindings() -> None:
    """The HTTP trigger is found among the bindings of a function, which may have none."""
    trigger = {"type": "httpTrigger", "name": "request"}
    assert trigger == http_trigger([{"type": "http"}, trigger])
    assert http_trigger([{"type": "queueTrigger"}]) is None
