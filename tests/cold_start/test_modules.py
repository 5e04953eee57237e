"""What a cold start imports does not grow unnoticed. Times are for the bench; here it is modules."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bench.starts import Moment, Start
from tests.cold_start.conftest import needs_worker
from tests.cold_start.modules import (
    LIST,
    Imports,
    Listing,
    head_of,
    imports_of,
    listing_of,
    read,
    this_python,
    written,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

LATE = {
    "aiohttp",
    "azure.core",
    "azure.data",
    "azure.identity",
    "azure.storage",
    "cryptography",
    "fastapi",
    "httpx",
    "jwt",
    "opentelemetry",
    "python_multipart",
    "rich",
    "typer",
}
"""What only some calls need, or none. Renewing the list does not let it in."""

LISTED = Imports(own=frozenset({"core", "core.gateway"}), packages={"starlette": 10, "pydantic": 40, "decimal": 1})


def told(grown: list[str]) -> str:
    """The words of a failure: all that is new, and what to do."""
    return f"{'; '.join(grown)}. How to renew the list, and when that is allowed, stands at the top of {LIST.name}"


def own(*names: str, **packages: int) -> Imports:
    """What was imported: our modules by name, others by number."""
    return Imports(own=frozenset(names), packages=packages)


# ------------------------------------------------------------------------------------------------ the gateway itself


@needs_worker
def test_until_the_server_listens(first_start: Start, smallest_start: Start) -> None:
    """Nothing is imported until the server listens that is not on the list."""
    listed, found = read(LIST.read_text()), listing_of(smallest_start, first_start)
    grown = found.listening.grown_beyond(listed.listening, same_python=listed.python == this_python())
    assert [] == grown, told(grown)


@needs_worker
def test_until_the_first_answer(first_start: Start, smallest_start: Start) -> None:
    """Nothing is imported for the first answer that is not on the list."""
    listed, found = read(LIST.read_text()), listing_of(smallest_start, first_start)
    grown = found.answered.grown_beyond(listed.answered, same_python=listed.python == this_python())
    assert [] == grown, told(grown)


@needs_worker
def test_what_is_late(first_start: Start) -> None:
    """A call with a virtual key is answered without the packages that only other calls need."""
    assert first_start.answered is not None
    assert set() == LATE & {*first_start.answered.modules}


# ------------------------------------------------------------------------------------------------ the comparison


@pytest.mark.parametrize(
    ("found", "lines"),
    [
        pytest.param(LISTED, [], id="the same"),
        pytest.param(own("core"), [], id="less"),
        pytest.param(own("core", "core.x", "core.a"), ["core.a: new", "core.x: new"], id="modules of ours"),
        pytest.param(own(colorama=4), ["colorama: new, 4 modules"], id="a package"),
        pytest.param(own(starlette=13, pydantic=48), [], id="packages a little larger"),
        pytest.param(own(starlette=14), ["starlette: 14 modules, 10 listed"], id="a small package much larger"),
        pytest.param(own(pydantic=49), ["pydantic: 49 modules, 40 listed"], id="a large package much larger"),
        pytest.param(own(xml=2), ["xml: new, 2 modules"], id="a package of Python's"),
    ],
)
def test_growth(found: Imports, lines: list[str]) -> None:
    """What has grown is named: each new module of ours, each new package, and packages that are much larger."""
    assert lines == found.grown_beyond(LISTED, same_python=True)


def test_another_python() -> None:
    """Another Python's own modules are not compared; other packages and our modules are."""
    found = own("core.x", xml=2, colorama=4)
    assert ["core.x: new", "colorama: new, 4 modules"] == found.grown_beyond(LISTED, same_python=False)


def test_what_counts() -> None:
    """Ours are named; others are counted, without private ones; packages that share a first name are told apart."""
    modules = ["core", "core.gateway", "adapters.functions", "azure", "azure.core", "azure.core.rest", "azure.identity"]
    others = ["pydantic", "pydantic.main", "_decimal", "_cython_3_1_2", "cython_runtime", "__mp_main__"]
    assert Imports(
        own=frozenset({"core", "core.gateway", "adapters.functions"}),
        packages={"azure": 1, "azure.core": 2, "azure.identity": 1, "pydantic": 2},
    ) == imports_of([*modules, *others])


def test_only_what_is_beyond_the_smallest_app() -> None:
    """What the smallest app imports is not counted, and nothing is counted twice."""
    listing = listing_of(
        started({"asyncio", "json"}, None),
        started({"asyncio", "json", "core", "decimal"}, {"asyncio", "json", "core", "decimal", "core.late"}),
    )
    expected = Listing(python=this_python(), listening=own("core", decimal=1), answered=own("core.late"))
    assert expected == listing


def started(listening: Iterable[str], answered: Iterable[str] | None) -> Start:
    """A start that imported these modules."""
    last = None if answered is None else moment(answered)
    return Start(functions=(), listening=moment(listening), answered=last, said="")


def moment(modules: Iterable[str]) -> Moment:
    """A moment at which these modules were there."""
    return Moment(cpu_ms=0, modules=frozenset(modules))


# ------------------------------------------------------------------------------------------------ the list


def test_a_list_is_read_as_it_was_written() -> None:
    """A list that is renewed says the same, below the same words."""
    listing = Listing(python="3.13", listening=LISTED, answered=own("core.late", anyio=3))
    text = written(listing, "# Words.\n#\n# More words.\n")
    assert text.startswith("# Words.\n#\n# More words.\n\npython 3.13\n")
    assert listing == read(text)
    assert "# Words.\n#\n# More words.\n" == head_of(text)


def test_the_words_at_the_top() -> None:
    """The list says how it is renewed, and when that is allowed."""
    head = head_of(LIST.read_text())
    assert "-m tests.cold_start.modules" in head
    assert "That is allowed where" in head
