"""Rule 1 of the house: the deployments of a call are resolved once, into a plan, and the caller was asked for each."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn
from unittest import mock
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.bootstrap import utc_now
from core.auth.authenticator import Authenticator
from core.auth.virtual_keys import ConfiguredKeys, VirtualKey, hash_secret
from core.call import Accounting
from core.cors import CorsPolicy
from core.deployments.families import FAMILIES
from core.deployments.route_plan import RoutePlan, make_plan
from core.domain.errors import Forbidden, GatewayError, InternalFault, InvalidRequest, NotFound
from core.domain.http_request import HttpRequest
from core.gateway import Gateway
from core.idempotency.repeats import Repeats
from core.idempotency.store import IdempotencyStore
from core.images.hosting import ImageHosting
from core.jobs.http_api import JobsApi
from core.ledger.writer import LedgerWriter
from core.limits.key_calls import KeyCalls
from core.limits.limiter import Limiter
from core.repeated_calls import RepeatedCalls
from core.routes import ROUTES, Router, Services
from core.routing.executor import TimeLimits
from core.storage.memory import MemoryBlobs, MemoryTables
from tests.deployments.asking import asked, catalogue, deployment, open_catalogue

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.deployments.catalogue import Catalogue
    from core.ledger.entry import Entry

LISTED = catalogue(
    deployment("plain"),
    deployment("gpt", FAMILIES["gpt-image-1"]),
    deployment("dalle", FAMILIES["dall-e-3"]),
    deployment("free", FAMILIES["gpt-image-2"]),
)


def allowing(*names: str) -> Callable[[str], bool]:
    """A caller who may call these."""
    return lambda name: name in names


def everyone(_: str) -> bool:
    """A caller who may call everything."""
    return True


def plan(name: str, may_call: Callable[[str], bool] = everyone, **fields: Any) -> list[tuple[int, str]]:
    """The steps of a plan: index and deployment."""
    made = make_plan(LISTED, asked(**fields), name, may_call)
    assert () == made.skipped
    return [(step.fallback_index, step.deployment.name) for step in made.steps]


# ------------------------------------------------------------------------------------------------ by example


@pytest.mark.parametrize(
    ("fallbacks", "steps"),
    [
        (None, [(0, "gpt")]),
        ([], [(0, "gpt")]),
        (["plain", "free"], [(0, "gpt"), (1, "plain"), (2, "free")]),
        (["azure/plain"], [(0, "gpt"), (1, "plain")]),
        (["gpt"], [(0, "gpt")]),
        (["azure/gpt", "plain"], [(0, "gpt"), (2, "plain")]),
        (["plain", "azure/plain", "plain", "free"], [(0, "gpt"), (1, "plain"), (4, "free")]),
    ],
    ids=str,
)
def test_steps(fallbacks: list[str] | None, steps: list[tuple[int, str]]) -> None:
    """The deployment of the path comes first, then the fallbacks by their place; one named twice counts once."""
    assert steps == plan("gpt", fallbacks=fallbacks)


def test_model_does_not_route() -> None:
    """`model` in the body changes neither where a call goes nor what is checked."""
    assert [(0, "gpt")] == plan("gpt", allowing("gpt"), model="dalle")


def test_a_misfit_fallback_is_passed_over() -> None:
    """A fallback that cannot honour the request is no step of the plan, and the plan says why."""
    made = make_plan(LISTED, asked(n=2, fallbacks=["dalle", "free"]), "gpt", everyone)
    assert [(0, "gpt"), (2, "free")] == [(step.fallback_index, step.deployment.name) for step in made.steps]
    assert [(1, "dalle", "n")] == [
        (step.fallback_index, step.deployment.name, step.reason.param) for step in made.skipped
    ]


NOBODY = allowing()

ORDER = [
    pytest.param("gpt", NOBODY, {}, Forbidden, 403, "deployment_not_allowed", None, id="not allowed"),
    pytest.param("none", NOBODY, {}, Forbidden, 403, "deployment_not_allowed", None, id="neither allowed nor there"),
    pytest.param(
        "none",
        allowing("none"),
        {"fallbacks": ["plain"]},
        Forbidden,
        403,
        "deployment_not_allowed",
        "fallbacks[0]",
        id="not there, and a fallback not allowed",
    ),
    pytest.param(
        "gpt",
        allowing("gpt", "plain"),
        {"fallbacks": ["plain", "azure/none"]},
        Forbidden,
        403,
        "deployment_not_allowed",
        "fallbacks[1]",
        id="a fallback neither allowed nor there",
    ),
    pytest.param(
        "gpt",
        allowing("gpt"),
        {"size": "256x256", "fallbacks": ["plain"]},
        Forbidden,
        403,
        "deployment_not_allowed",
        "fallbacks[0]",
        id="a fallback not allowed, and a misfit",
    ),
    pytest.param("none", everyone, {}, NotFound, 404, "deployment_not_found", None, id="not there"),
    pytest.param(
        "none", everyone, {"fallbacks": ["gone"]}, NotFound, 404, "deployment_not_found", None, id="both not there"
    ),
    pytest.param(
        "gpt",
        everyone,
        {"fallbacks": ["plain", "none"]},
        InvalidRequest,
        400,
        "deployment_not_found",
        "fallbacks[1]",
        id="a fallback not there",
    ),
    pytest.param(
        "gpt",
        everyone,
        {"size": "256x256", "fallbacks": ["none"]},
        InvalidRequest,
        400,
        "deployment_not_found",
        "fallbacks[0]",
        id="a fallback not there, and a misfit",
    ),
    pytest.param("gpt", everyone, {"size": "256x256"}, InvalidRequest, 400, "invalid_value", "size", id="a misfit"),
    pytest.param(
        "gpt",
        everyone,
        {"size": "256x256", "fallbacks": ["plain"]},
        InvalidRequest,
        400,
        "invalid_value",
        "size",
        id="a misfit, and a fallback that would do",
    ),
]


@pytest.mark.parametrize(("name", "may_call", "fields", "kind", "status", "code", "param"), ORDER)
def test_order_of_checks(
    *,
    name: str,
    may_call: Callable[[str], bool],
    fields: dict[str, Any],
    kind: type[GatewayError],
    status: int,
    code: str,
    param: str | None,
) -> None:
    """First every name is allowed (403), then it exists (404, 400), then its family can honour the request (400)."""
    with pytest.raises(kind) as refusal:
        plan(name, may_call, **fields)
    assert (status, code, param) == (refusal.value.status, refusal.value.code, refusal.value.param)


@pytest.mark.parametrize("name", ["gpt", "none"])
def test_forbidden_says_nothing_of_existence(name: str) -> None:
    """To a caller who may not call it, a deployment that exists looks like one that does not."""
    with pytest.raises(Forbidden) as refusal:
        plan(name, NOBODY)
    assert "This key may not call the deployment X" == refusal.value.message.replace(name, "X")


# ------------------------------------------------------------------------------------------------ rule 1

_NAMES = ["plain", "gpt", "dalle", "free", "none", "GPT", "gpt-image-1", "azure", "*", "..", "gpt%00", "a/b", "", "é"]
_NAME = st.sampled_from(_NAMES)
_FALLBACKS = st.lists(st.sampled_from(["", "azure/", "AZURE/", "azure/azure/"]).flatmap(
    lambda prefix: _NAME.map(lambda name: prefix + name)), max_size=6)  # fmt: skip
_BODY = st.fixed_dictionaries(
    {"model": _NAME.map(lambda name: name or "m"), "prompt": st.just("p")},
    optional={
        "fallbacks": _FALLBACKS,
        "deployment": _NAME,
        "deployment_id": _NAME,
        "provider": _NAME,
        "endpoint": st.just("https://evil.example"),
        "n": st.integers(0, 3),
        "size": st.sampled_from(["256x256", "1024x1024", "auto"]),
        "stream": st.booleans(),
        "response_format": st.sampled_from(["url", "b64_json"]),
        "extra_fields": st.just({"deployment": "gpt"}),
    },
)
_CATALOGUE = st.sampled_from([LISTED, open_catalogue()])


@settings(max_examples=300, deadline=None)
@given(_CATALOGUE, st.sampled_from(["plain", "gpt", "none", "GPT", "gpt-image-1"]), _BODY, st.sets(_NAME))
def test_a_plan_holds_only_what_was_asked_and_allowed(
    known: Catalogue, name: str, body: dict[str, Any], allowed: set[str]
) -> None:
    """No plan has a deployment that `may_call` was not asked about and said yes to, or a target of no catalogue."""
    said_yes = set()

    def may_call(each: str) -> bool:
        if each in allowed:
            said_yes.add(each)
        return each in allowed

    try:
        steps = make_plan(known, asked(**body), name, may_call).steps
    except GatewayError:
        return
    assert name == steps[0].deployment.name
    assert {step.deployment.name for step in steps} <= said_yes
    _is_of(known, steps)


def _is_of(known: Catalogue, steps: Any) -> None:
    """Each target stands in the catalogue; without one, it is the one resource, and the deployment as it is called."""
    for step in steps:
        if known.listed is not None:
            assert step.deployment is known.listed[step.deployment.name]
        else:
            assert known.default is not None
            expected = [(known.default.endpoint, step.deployment.name)]
            assert expected == [(target.endpoint, target.deployment) for target in step.deployment.targets]


class Recorder:
    """In the generator's place: keeps the plans that it is handed, and draws nothing."""

    def __init__(self) -> None:
        self.plans: list[RoutePlan] = []

    async def generate(self, plan: RoutePlan, *_: Any, **__: Any) -> NoReturn:
        """Take a plan and give up."""
        self.plans.append(plan)
        raise InternalFault(retry_safe=True)


class Ledger(LedgerWriter):
    """Keeps what calls are written down as."""

    def __init__(self) -> None:
        super().__init__(MemoryTables(), clock=lambda: 0.0, wait=asyncio.sleep)
        self.deployments: list[str] = []

    def note(self, entry: Entry) -> None:
        """Keep a call."""
        self.deployments.append(entry.deployment)


def ask(known: Catalogue, door: str, allowed: set[str], **parts: Any) -> tuple[list[RoutePlan], list[str]]:
    """Ask a whole gateway by the path of a door, with a key that may call `allowed`: its plans, and what it notes."""
    recorder, ledger = Recorder(), Ledger()
    tables, container = MemoryTables(), MemoryBlobs(utc_now).container("kept")
    key = VirtualKey(id="k", name="", key_sha256=hash_secret("sk-bf-k"), deployments=frozenset(allowed))
    gateway = Gateway(
        authenticator=Authenticator(ConfiguredKeys([key]), None, utc_now),
        catalogue=known,
        accounting=Accounting(
            limiter=Limiter(tables, call_seconds=1, now=utc_now, wait=asyncio.sleep, chance=lambda: 0.5),
            ledger=ledger,
            now=utc_now,
        ),
        executor=recorder,  # type: ignore[arg-type]
        limits=TimeLimits(),
        heartbeat_seconds=10,
        clock=lambda: 0.0,
        wait=asyncio.sleep,
        hosting=ImageHosting(container, lifetime=dt.timedelta(1), now=utc_now),
        key_calls=KeyCalls(10),
        repeated=RepeatedCalls(
            IdempotencyStore(tables.table("Once"), container, now=utc_now, lease=dt.timedelta(1)),
            Repeats(None, now=utc_now, linger_seconds=0, repeat_seconds=0),
            wait=asyncio.sleep,
        ),
        jobs=mock.create_autospec(JobsApi, instance=True),
    )
    services: Any = Services(gateway=gateway, jobs=Any, models=Any, cors=CorsPolicy(), admin=Any)
    router = Router(services, openapi=Path("openapi.json"))
    asyncio.run(router.answer(HttpRequest(method="POST", path=door, **parts)))
    return recorder.plans, ledger.deployments


_HEADERS = st.lists(
    st.tuples(
        st.sampled_from(["x-deployment", "x-model", "x-ms-deployment", "host", "x-forwarded-host", "x-original-url"]),
        _NAME,
    ),
    max_size=3,
)
_QUERY = st.lists(
    st.tuples(st.sampled_from(["deployment", "deployment-id", "model", "api-version", "fallbacks"]), _NAME), max_size=3
)


_DOORS = st.sampled_from(
    [template for route in ROUTES if route.name.startswith("generate_image") for template in route.templates]
)


@settings(max_examples=400, deadline=None)
@given(
    known=_CATALOGUE,
    door=_DOORS,
    name=_NAME,
    body=_BODY,
    allowed=st.sets(_NAME, max_size=9),
    headers=_HEADERS,
    query=_QUERY,
)
def test_what_is_named_is_what_is_called(  # noqa: PLR0917 -- hypothesis passes them by name
    known: Catalogue,
    door: str,
    name: str,
    body: dict[str, Any],
    allowed: set[str],
    headers: list[tuple[str, str]],
    query: list[tuple[str, str]],
) -> None:
    """By whichever door: the deployment that is named, in the path or by `model`, is authorised, called and logged.

    No header, query, body field, alias or fallback brings a call to one that its key does not list.
    """
    if "{deployment}" not in door:
        body = {**body, "model": name}
    plans, noted = ask(
        known,
        door.replace("{deployment}", quote(name, safe="")),
        allowed,
        headers=[*headers, ("authorization", "Bearer sk-bf-k")],
        query=query,
        body=json.dumps(body).encode(),
    )
    named = {name, *(each.removeprefix("azure/") for each in body.get("fallbacks", []))}
    for each in plans:
        called = {step.deployment.name for step in each.steps}
        assert name == each.steps[0].deployment.name
        assert [name] == noted
        assert called <= named
        assert called <= allowed or "*" in allowed
        _is_of(known, each.steps)
    assert set(noted) <= {name, "(not a name)"}


@pytest.mark.parametrize("name", ["gpt", "plain"])
@pytest.mark.parametrize("door", ["/openai/openai/deployments/{}/images/generations", "/v1/images/generations"])
def test_a_plan_is_made(door: str, name: str) -> None:
    """The property above is about plans that are made: an allowed call makes one."""
    body = json.dumps({"model": name, "prompt": "p"}).encode()
    plans, noted = ask(LISTED, door.format(name), {name}, headers=[("api-key", "sk-bf-k")], body=body)
    assert ([name], [name]) == ([step.deployment.name for each in plans for step in each.steps], noted)
