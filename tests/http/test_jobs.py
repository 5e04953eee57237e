"""Jobs: `Prefer: respond-async`, looked at, cancelled, carried out by the queue's function (docs/events.md)."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from tests.house import KEY, house, key_record
from tests.http.governing import TRUST, USAGE, token
from tests.http.wire import check_refusal, said
from tests.loopback import NO_CERTIFICATES
from tests.mail import Mail
from tests.waiting import HANGS_SECONDS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    from tests.house import House

ASYNC = {"prefer": "respond-async"}
OTHER, LIMITED, POOR, GONE = (f"sk-bf-the-key-of-{name}" for name in ("another-team", "a-limited", "a-poor", "nobody"))
LISTED = ["gpt-image-1", "gpt-image-1--fault-content-policy--j"]
NOWHERE = (
    "DefaultEndpointsProtocol=http;AccountName=a;AccountKey=a2V5;BlobEndpoint=http://127.0.0.1:9/a;"
    "QueueEndpoint=http://127.0.0.1:9/a;TableEndpoint=http://127.0.0.1:9/a"
)


class Office:
    """A gateway that takes orders, and what carries them out: its own process, or the queue's functions."""

    def __init__(self, own: House, mail: Mail | None, suffix: str) -> None:
        self.house = own
        self.mail = mail
        self._suffix = suffix

    async def order(self, deployment: str = "gpt-image-1", **parts: Any) -> httpx2.Response:
        """Order a job."""
        headers = {**ASYNC, **parts.pop("headers", {})}
        return await self.house.draw(deployment, headers=headers, **parts)

    async def look(self, path: str, key: str | None = KEY, method: str = "GET") -> httpx2.Response:
        """Look at a job."""
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        return await self.house.http.request(method, path, headers=headers)

    async def ended(self, ordered: httpx2.Response, key: str = KEY) -> dict[str, Any]:
        """A job once it has ended."""
        assert 202 == ordered.status_code, ordered.text
        if self.mail is not None:
            assert 1 <= await self.mail.deliver()
        async with asyncio.timeout(HANGS_SECONDS):
            while True:
                job: dict[str, Any] = (await self.look(ordered.headers["location"], key)).json()
                if job["status"] not in {"queued", "running"}:
                    return job
                await asyncio.sleep(0.01)

    def id(self, name: str) -> str:
        """A key's id of this test's own: Azurite is shared."""
        return f"{name}-{self._suffix}"


def keys(suffix: str) -> list[dict[str, Any]]:
    """Keys with ids of one test's own."""
    images = {"images": {"limit": 2, "window": "1h"}}
    return [
        key_record(id=f"team-a-{suffix}"),
        key_record(OTHER, id=f"other-{suffix}"),
        key_record(LIMITED, id=f"limited-{suffix}", rate_limit=images, deployments=LISTED),
        key_record(POOR, id=f"poor-{suffix}", budget={"usd": 0.0001, "window": "month"}),
    ]


@pytest.fixture(params=["memory", "azurite"])
def offices(request: pytest.FixtureRequest, prefix: str) -> Callable[..., AbstractAsyncContextManager[Office]]:
    """Opens gateways that keep jobs in their process, and ones that keep them in Azure Storage."""
    storage = {"AzureWebJobsStorage": request.getfixturevalue("azurite")} if request.param == "azurite" else {}

    @asynccontextmanager
    async def open_one(**settings: Any) -> AsyncIterator[Office]:
        values = {"GATEWAY_VIRTUAL_KEYS": keys(prefix), "GATEWAY_MAX_RETRIES": "0", **TRUST, **storage, **settings}
        async with house(**values) as own:
            mail = Mail(storage["AzureWebJobsStorage"], own.module) if storage else None
            yield Office(own, mail, prefix)

    return open_one


@pytest.fixture
async def office(offices) -> AsyncIterator[Office]:
    """One of each kind in turn."""
    async with offices() as one:
        yield one


@pytest.fixture
async def queued(azurite: str, prefix: str) -> AsyncIterator[Office]:
    """One whose jobs wait in the queue until they are delivered."""
    async with house(GATEWAY_VIRTUAL_KEYS=keys(prefix), AzureWebJobsStorage=azurite, **TRUST) as own:
        yield Office(own, Mail(azurite, own.module), prefix)


# ------------------------------------------------------------------------------------------------ ordering


async def test_an_order_is_answered_at_once(office) -> None:
    """202 with where to look and when; the picture comes later."""
    name = "gpt-image-1--fault-slow-300--job"
    ordered = await office.order(name, headers={"x-request-id": "the-order"})
    job = ordered.json()
    assert (202, f"/jobs/{job['id']}") == (ordered.status_code, ordered.headers["location"])
    assert ("respond-async", "10") == (ordered.headers["preference-applied"], ordered.headers["retry-after"])
    assert ("the-order", "the-order", name) == (ordered.headers["x-request-id"], job["event_id"], job["deployment"])
    assert {"id", "status", "deployment", "event_id", "created_at", "ended_at"} == job.keys()
    assert ("queued", None) == (job["status"], job["ended_at"])
    assert "succeeded" == (await office.ended(ordered))["status"]


@pytest.mark.parametrize("fields", [{}, {"n": 3}, {"response_format": "b64_json"}], ids=str)
async def test_a_job_succeeds_with_an_answer_that_has_urls(office, fields) -> None:
    """Whatever format was asked for: those can be fetched by anybody; the rest is as of a call."""
    job = await office.ended(await office.order(**fields))
    drawn = (await office.house.draw(**{**fields, "response_format": "url"})).json()
    assert ("succeeded", drawn.keys()) == (job["status"], job["answer"].keys())
    assert [{"url", "index"}] * fields.get("n", 1) == [set(item) for item in job["answer"]["data"]]
    assert dt.datetime.fromisoformat(job["created_at"]) <= dt.datetime.fromisoformat(job["ended_at"])
    async with httpx2.AsyncClient(verify=NO_CERTIFICATES) as anybody:
        for item in job["answer"]["data"]:
            found = await anybody.get(item["url"])
            assert (200, "image/png") == (found.status_code, found.headers["content-type"])


@pytest.mark.parametrize("prefer", ["respond-async", "Respond-Async, wait=10", "wait=1, respond-async;x=1"])
async def test_how_a_job_is_asked_for(office, prefer) -> None:
    """A preference among others, in any case (RFC 7240 §2)."""
    ordered = await office.order(headers={"prefer": prefer})
    assert 202 == ordered.status_code
    await office.ended(ordered)


@pytest.mark.parametrize("prefer", ["wait=10", "respond-asynchronously", ""])
async def test_other_preferences_are_let_be(office, prefer) -> None:
    """What a server does not know of them it ignores."""
    assert 200 == (await office.order(headers={"prefer": prefer})).status_code


async def test_a_stream_is_a_stream(office) -> None:
    """A preference is none of the caller's demands, and a stream cannot come later."""
    answer = await office.order(stream=True)
    assert (200, "preference-applied" in answer.headers) == (answer.status_code, False)
    assert answer.headers["content-type"].startswith("text/event-stream")


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ({"n": 11}, (400, "invalid_value", "n")),
        ({"size": "large"}, (400, "invalid_value", "size")),
        ({"deployment": "..."}, (404, "deployment_not_found", None)),
        ({"key": LIMITED, "deployment": "gpt-image-2"}, (403, "deployment_not_allowed", None)),
        ({"key": GONE}, (401, "invalid_credentials", None)),
        ({"query": {"api-version": "soon"}}, (400, "invalid_value", "api-version")),
    ],
    ids=str,
)
async def test_what_is_wrong_is_told_at_once(office, parts, expected) -> None:
    """As of a call: nobody waits in a queue for that."""
    assert expected == said(await office.order(**parts))


async def test_a_gateway_without_an_address_takes_no_orders() -> None:
    """Its answers are URLs, and nobody knows where they could be fetched."""
    async with house() as own:
        answer = await own.draw(headers={**ASYNC, "host": "gateway.example.com"})
        assert (400, "url_not_available", "Prefer") == said(answer)


async def test_a_store_that_is_out_of_reach() -> None:
    """503, for orders and for questions; nothing is drawn."""
    async with house(AzureWebJobsStorage=NOWHERE) as own:
        office = Office(own, None, "")
        assert (503, "store_unavailable", None) == said(await office.order())
        assert (503, "store_unavailable", None) == said(await office.look(f"/jobs/{'0' * 32}"))
        assert (503, "store_unavailable", None) == said(await office.look(f"/jobs/{'0' * 32}", method="DELETE"))
        assert 0 == len(own.calls)


# ------------------------------------------------------------------------------------------------ looking


async def test_who_may_see_a_job(office) -> None:
    """Whoever ordered it, and an admin; for everybody else it is not there."""
    ordered = await office.order()
    path = ordered.headers["location"]
    narrowed = token(sub=office.id("team-a"), role="virtual_key", deployments=["gpt-image-2"])
    own = token(sub=office.id("team-a"), role="virtual_key")
    keys_and_answers = {
        KEY: 200, OTHER: 404, token(): 200, own: 200, narrowed: 404,
        token(deployments=["gpt-image-1"]): 200, token(deployments=["gpt-image-2"]): 404,
    }  # fmt: skip
    assert keys_and_answers == {key: (await office.look(path, key)).status_code for key in keys_and_answers}
    assert (404, "job_not_found", None) == said(await office.look(path, OTHER))
    assert (401, "missing_credentials", None) == said(await office.look(path, None))
    assert (404, "job_not_found", None) == said(await office.look(path, OTHER, "DELETE"))
    await office.ended(ordered)


async def test_a_job_of_an_admin_is_not_that_of_a_key_of_the_same_name(office) -> None:
    """Ids of admins come from elsewhere."""
    ordered = await office.order(key=token(sub=office.id("team-a")))
    assert 404 == (await office.look(ordered.headers["location"], KEY)).status_code
    assert "succeeded" == (await office.ended(ordered, token()))["status"]


@pytest.mark.parametrize("job_id", ["x", "0" * 32, "letter-" + "0" * 32, "a" * 3000, "%00", "☃"])
async def test_a_job_that_there_is_not(office, job_id) -> None:
    """404, whatever was asked for."""
    for method in ("GET", "DELETE"):
        assert (404, "job_not_found", None) == said(await office.look(f"/jobs/{job_id}", method=method))


async def test_every_answer_has_a_request_id(office) -> None:
    """The caller's own, if it is one."""
    ordered = await office.order()
    for path in (ordered.headers["location"], "/jobs/none"):
        headers = {"authorization": f"Bearer {KEY}", "x-request-id": "mine"}
        answer = await office.house.http.get(path, headers=headers)
        assert ("mine", "no-store") == (answer.headers["x-request-id"], answer.headers["cache-control"])
    await office.ended(ordered)


async def test_other_methods(office) -> None:
    """405 with those that are taken."""
    answer = await office.look("/jobs/x", method="POST")
    assert (405, "GET, HEAD, DELETE") == (said(answer)[0], answer.headers["allow"])


async def test_while_it_runs_there_is_nothing_but_when_to_look_again(office) -> None:
    """And a job that runs is not cancelled: it may have been paid for."""
    ordered = await office.order("gpt-image-1--fault-slow-300--runs")
    ending = asyncio.ensure_future(office.ended(ordered))
    await office.house.calls.until(lambda calls: len(calls) == 1)
    running = await office.look(ordered.headers["location"])
    cancelled = await office.look(ordered.headers["location"], method="DELETE")
    assert ("running", None, "10") == (
        running.json()["status"], running.json()["ended_at"], running.headers["retry-after"]
    )  # fmt: skip
    assert {"answer", "error"}.isdisjoint(running.json())
    assert (409, "job_not_queued", "false") == (*said(cancelled)[:2], cancelled.headers["x-should-retry"])
    assert "succeeded" == (await ending)["status"]
    assert 409 == (await office.look(ordered.headers["location"], method="DELETE")).status_code


@pytest.mark.parametrize("fault", ["content-policy", "429", "close", "500"])
async def test_a_job_fails_with_the_error_of_a_call(office, fault) -> None:
    """The same body, and what may have been bought is not bought again."""
    job = await office.ended(await office.order(f"gpt-image-1--fault-{fault}--job"))
    called = await office.house.draw(f"gpt-image-1--fault-{fault}--call")
    check_refusal(job["error"])
    assert ("failed", called.json()["error"]["code"]) == (job["status"], job["error"]["error"]["code"])
    assert (called.status_code, job["event_id"]) == (job["error"]["status_code"], job["error"]["event_id"])
    assert 1 == sum(each.deployment.endswith("--job") for each in office.house.calls)


async def test_a_fallback_draws(office) -> None:
    """The same walk."""
    job = await office.ended(await office.order("gpt-image-1--fault-500--j", fallbacks=["gpt-image-1-mini"]))
    assert ("succeeded", 1) == (job["status"], job["answer"]["extra_fields"]["fallback_index"])


async def test_pictures_that_cannot_be_stored_are_not_lost(office, monkeypatch) -> None:
    """The job's answer holds them as base64, however long it is."""
    own = office.house.module._built.job_runner._hosting
    monkeypatch.setattr(own, "_store", _out_of_reach)
    job = await office.ended(await office.order("gpt-image-1--fault-bytes-3000000--job"))
    assert ("succeeded", 3_000_000) == (job["status"], len(job["answer"]["data"][0]["b64_json"]))


async def _out_of_reach(*_: Any) -> str:
    raise TimeoutError


# ------------------------------------------------------------------------------------------------ cancelling


async def test_what_has_not_begun_is_cancelled_and_gives_back_what_it_held(queued) -> None:
    """It is not drawn; cancelled twice is cancelled; who waits for its end is told."""
    first, second = [await queued.order(key=LIMITED) for _ in range(2)]
    assert 429 == (await queued.order(key=LIMITED)).status_code
    for _ in range(2):
        cancelled = await queued.look(first.headers["location"], LIMITED, "DELETE")
        assert (200, "cancelled") == (cancelled.status_code, cancelled.json()["status"])
        assert cancelled.json()["ended_at"] is not None
    assert "succeeded" == (await queued.ended(second, LIMITED))["status"]
    assert "cancelled" == (await queued.look(first.headers["location"], LIMITED)).json()["status"]
    events = [json.loads(text)["type"].rpartition(".")[2] for text in queued.mail.read("image-events")]
    assert (1, ["cancelled", "succeeded"]) == (len(queued.house.calls), sorted(events))
    assert 202 == (await queued.order(key=LIMITED)).status_code


async def test_an_admin_cancels_a_job_of_anybody(queued) -> None:
    """Also of a key that is no longer there."""
    ordered = await queued.order(key=LIMITED)
    cancelled = await queued.look(ordered.headers["location"], token(), "DELETE")
    assert "cancelled" == cancelled.json()["status"]
    await queued.mail.deliver()
    assert 0 == len(queued.house.calls)


# ------------------------------------------------------------------------------------------------ asking twice


async def test_the_same_order_again_is_the_same_job(office, prefix) -> None:
    """The very answer, and one job."""
    named = {"idempotency-key": f"job-{prefix}"}
    first = await office.order(headers=named)
    await office.ended(first)
    again = await office.order(headers=named)
    assert (202, first.content, "true") == (again.status_code, again.content, again.headers["idempotent-replayed"])
    assert first.headers["location"] == again.headers["location"]
    assert (1, 0) == (len(office.house.calls), await office.mail.deliver() if office.mail else 0)
    assert (422, "idempotency_mismatch", "Idempotency-Key") == said(await office.house.draw(headers=named))


async def test_an_order_that_was_refused_can_be_given_again(queued, prefix) -> None:
    """Under the same name, once there is room."""
    named = {"idempotency-key": f"job-{prefix}"}
    ordered = await queued.order(key=LIMITED, n=2)
    assert 429 == (await queued.order(key=LIMITED, headers=named)).status_code
    await queued.look(ordered.headers["location"], LIMITED, "DELETE")
    assert 202 == (await queued.order(key=LIMITED, headers=named)).status_code


# ------------------------------------------------------------------------------------------------ limits and money


async def test_limits_and_budgets_count_when_a_job_is_ordered(office) -> None:
    """What waits is reserved; what would be too much is refused at once."""
    first = await office.order(key=LIMITED, n=2)
    assert (429, "rate_limited", "n") == said(await office.order(key=LIMITED))
    assert (402, "budget_exceeded", None) == said(await office.order(key=POOR))
    assert "succeeded" == (await office.ended(first, LIMITED))["status"]
    assert (429, "rate_limited", "n") == said(await office.order(key=LIMITED))


async def test_what_a_job_did_not_draw_is_given_back(office) -> None:
    """As of a call."""
    refused = await office.order("gpt-image-1--fault-content-policy--j", key=LIMITED, n=2)
    assert "failed" == (await office.ended(refused, LIMITED))["status"]
    again = await office.order(key=LIMITED, n=2)
    assert "succeeded" == (await office.ended(again, LIMITED))["status"]


async def test_a_key_that_is_taken_back_meanwhile(queued) -> None:
    """Its job has failed, and nothing is drawn."""
    made = await queued.house.http.post(
        "/api/governance/virtual-keys",
        json={"name": "B", "deployments": ["*"], "rate_limit": {"images": {"limit": 2, "window": "1h"}}},
        headers={"authorization": f"Bearer {token()}"},
    )
    key, record = made.json()["key"], made.json()["virtual_key"]
    ordered = await queued.order(key=key)
    await queued.house.http.delete(
        f"/api/governance/virtual-keys/{record['id']}", headers={"authorization": f"Bearer {token()}"}
    )
    job = await queued.ended(ordered, token())
    assert ("failed", 401, 0) == (job["status"], job["error"]["status_code"], len(queued.house.calls))


async def test_a_job_is_one_call_in_the_report(office) -> None:
    """Its order is none, and neither has failed."""
    await office.ended(await office.order(quality="low", size="1024x1024"))
    async with asyncio.timeout(HANGS_SECONDS):
        while True:
            answer = await office.look(f"{USAGE}?group_by=key", token())
            lines = [each for each in answer.json()["usage"] if each["key_id"] == office.id("team-a")]
            if lines:
                break
            await asyncio.sleep(0.02)
    assert [(1, 0, 1)] == [(each["calls"], each["failed_calls"], each["images"]) for each in lines]
    assert 0 < lines[0]["cost_usd"]


async def test_whoever_waits_is_told(queued) -> None:
    """A CloudEvent in the queue of events."""
    ordered = await queued.order(headers={"x-request-id": "the-order"})
    job = await queued.ended(ordered)
    (text,) = queued.mail.read("image-events")
    event = json.loads(text)
    (image,) = event["data"].pop("images")
    assert job["answer"]["data"][0]["url"].startswith(image)
    assert job["answer"]["extra_fields"]["cost_usd"] == event["data"].pop("cost_usd")
    assert {
        "specversion": "1.0",
        "id": job["id"],
        "source": "/image-gateway",
        "type": "image.generation.succeeded",
        "subject": job["id"],
        "time": job["ended_at"],
        "datacontenttype": "application/json",
        "data": {
            "id": job["id"],
            "status": "succeeded",
            "deployment": "gpt-image-1",
            "status_code": 200,
            "event_id": "the-order",
            "result": f"/jobs/{job['id']}",
        },
    } == event


async def test_a_message_that_comes_again_draws_nothing(queued) -> None:
    """Delivered twice, one after the other: one picture, and one word of it."""
    ordered = await queued.order()
    queued.mail.send("image-jobs", ordered.json()["id"])
    await queued.ended(ordered)
    assert (1, 1) == (len(queued.house.calls), len(queued.mail.read("image-events")))


async def test_a_message_that_was_set_aside_ends_its_job(queued) -> None:
    """Tried too often for whatever reason: it has failed, and is not drawn any more."""
    ordered = await queued.order(key=LIMITED)
    queued.mail.read("image-jobs")
    queued.mail.send("image-jobs-poison", ordered.json()["id"])
    job = await queued.ended(ordered, LIMITED)
    assert ("failed", "job_abandoned", 0) == (job["status"], job["error"]["error"]["code"], len(queued.house.calls))
    assert 202 == (await queued.order(key=LIMITED, n=2)).status_code
