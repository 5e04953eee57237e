"""Every failure on request: what each fault answers, or does to the connection."""

import time
from email.utils import parsedate_to_datetime

import httpx2
import orjson
import pytest

from emulator.faults import FAULTS, find_fault
from tests.emulator.asking import arrived, error, events

KINDS = pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])


@KINDS
@pytest.mark.parametrize(
    ("fault", "status", "expected"),
    [
        ("content-policy", 400, {"code": "content_policy_violation", "type": "invalid_request_error"}),
        ("content-filter", 400, {"code": "contentFilter"}),
        ("moderation-blocked", 400, {"code": "moderation_blocked", "type": "image_generation_user_error"}),
        ("refused-403", 403, {"code": "content_policy_violation"}),
        ("unknown-parameter", 400, {"code": "unknown_parameter", "param": "prompt"}),
        ("invalid-payload", 400, {"code": "invalidPayload"}),
        ("403", 403, {"code": "Forbidden"}),
        ("blocked", 403, {"code": "Forbidden"}),
        ("responsible-ai", 400, {"code": "ResponsibleAIPolicyViolation", "param": "prompt"}),
        ("404", 404, {"code": "DeploymentNotFound"}),
        ("404-operation", 404, {"code": "OperationNotSupported"}),
        ("404-resource", 404, {"code": "404", "message": "Resource not found"}),
        ("408", 408, {"code": "408"}),
        ("408-after-1", 408, {"code": "408"}),
        ("413", 413, {"code": "413"}),
        ("422", 422, {"code": "422"}),
        ("429", 429, {"code": "429"}),
        ("429-insufficient-quota", 429, {"code": "insufficient_quota", "type": "insufficient_quota"}),
        ("500", 500, {"code": "500"}),
        ("502", 502, {"code": "502"}),
        ("503", 503, {"code": "503"}),
        ("504", 504, {"code": "504"}),
        ("500-after-1", 500, {"code": "500"}),
        ("504-after-1", 504, {"code": "504"}),
    ],
)
async def test_errors_in_azures_shape(azure, fault, status, expected, stream):
    """These faults are errors wrapped in `error`, also for a call that asked for a stream."""
    answer = await azure.fault(fault, stream=stream)

    assert (status, "application/json") == (answer.status_code, answer.headers["content-type"])
    assert expected.items() <= error(answer).items()
    assert error(answer)["message"]


@pytest.mark.parametrize("fault", ["content-policy", "refused-403"])
async def test_a_refusal_tells_what_the_filter_found(azure, fault):
    """A content policy violation carries the filter's results inside."""
    inner = error(await azure.fault(fault))["inner_error"]

    assert inner["code"] == "ResponsibleAIPolicyViolation"
    assert inner["content_filter_results"]["violence"]["filtered"] is True


async def test_a_blocked_resource_differs_from_the_network_only_in_words(azure):
    """Both are 403 `Forbidden`; only one message speaks of being blocked."""
    network = error(await azure.fault("403"))["message"]
    blocked = error(await azure.fault("blocked"))["message"]

    assert ("temporarily blocked" in network, "temporarily blocked" in blocked) == (False, True)


@KINDS
@pytest.mark.parametrize(
    ("fault", "expected", "body"),
    [
        ("401", (401, "application/json"), '{"statusCode":401,'),
        ("400-plain", (400, "text/plain"), "Bad Request"),
        ("500-html", (500, "text/html"), "<html>"),
        ("502-html", (502, "text/html"), "<html>"),
        ("503-empty", (503, None), ""),
        ("200-empty", (200, "application/json"), ""),
        ("200-html", (200, "text/html"), "<html>"),
        ("200-not-json", (200, "application/json"), '{"created":1,"da'),
        ("200-without-image", (200, "application/json"), '{"created":'),
        ("200-null-image", (200, "application/json"), '{"created":'),
    ],
)
async def test_other_answers(azure, fault, expected, body, stream):
    """These faults are answers of another shape, to every kind of call."""
    answer = await azure.fault(fault, stream=stream)

    assert (answer.status_code, answer.headers.get("content-type")) == expected
    assert answer.text.startswith(body) if body else not answer.content


async def test_answers_without_a_picture(azure):
    """200 may come with no item, or with an item that has no picture."""
    data = [(await azure.fault(fault)).json()["data"] for fault in ("200-without-image", "200-null-image")]

    assert data == [[], [{}]]


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("429", {"retry-after": "20", "retry-after-ms": "20000"}),
        ("429-bare", {}),
        ("429-retry-after-7", {"retry-after": "7"}),
        ("429-retry-after-0", {"retry-after": "0"}),
        ("429-insufficient-quota", {}),
        ("429-retry-after-ms-1500", {"retry-after-ms": "1500"}),
        ("429-retry-after-nonsense", {"retry-after": "soon"}),
    ],
)
async def test_when_to_come_back(azure, fault, expected):
    """429 tells when to come back in seconds, in milliseconds, in nonsense, or not at all."""
    headers = (await azure.fault(fault)).headers

    assert expected == {name: value for name, value in headers.items() if name.startswith("retry-after")}


@pytest.mark.parametrize(("fault", "seconds"), [("429-retry-after-date-30", 30), ("429-retry-after-past-30", -30)])
async def test_when_to_come_back_as_a_date(azure, fault, seconds):
    """`retry-after` may be an HTTP date, also one that has passed."""
    date = parsedate_to_datetime((await azure.fault(fault)).headers["retry-after"])

    assert date.timestamp() - time.time() == pytest.approx(seconds, abs=3)


async def test_an_error_after_a_byte_order_mark(azure):
    """A byte order mark may stand before the JSON of an error."""
    marked = await azure.fault("moderation-blocked-bom")

    assert marked.content.startswith(b"\xef\xbb\xbf{")
    assert orjson.loads(marked.content[3:]) == (await azure.fault("moderation-blocked")).json()


@pytest.mark.parametrize(
    ("key", "model", "value"),
    [("response_format", "dall-e-3", "b64_json"), ("style", "dall-e-3", "natural")],
)
async def test_a_deployment_that_does_not_know_a_key(azure, key, model, value):
    """A deployment may refuse a key that others of its family know, and is asked without it."""
    deployment = f"{model}--fault-no-{key}"

    refused = await azure.draw(deployment, **{key: value})

    assert (400, "unknown_parameter", key) == (refused.status_code, error(refused)["code"], error(refused)["param"])
    assert (await azure.draw(deployment)).status_code == 200


async def test_a_redirect_leads_to_a_path_that_counts(azure):
    """Whoever follows the redirect is found in the record."""
    answer = await azure.fault("302")
    assert (answer.status_code, azure.calls.count("gpt-image-1--redirected")) == (302, 0)

    await azure.client.get(answer.headers["location"])
    assert azure.calls.count("gpt-image-1--redirected") == 1


@KINDS
@pytest.mark.parametrize(
    ("fault", "expected"),
    [("reset", httpx2.ReadError), ("close", httpx2.RemoteProtocolError), ("hang", httpx2.ReadTimeout)],
)
async def test_no_answer_at_all(azure, fault, expected, stream):
    """A connection is reset or closed before any answer, or nothing comes."""
    azure.client.timeout = 0.1 if fault == "hang" else 5

    with pytest.raises(expected):
        await azure.fault(fault, stream=stream)

    await azure.calls.until(lambda calls: not calls.open_now)
    assert (None, "left" if fault == "hang" else "answered") == (
        azure.calls.last.status,
        azure.calls.last.state,
    )


@pytest.mark.parametrize(
    ("fault", "expected"), [("200-cut", httpx2.RemoteProtocolError), ("200-reset", httpx2.ReadError)]
)
async def test_half_an_answer(azure, fault, expected):
    """Half of a JSON answer arrives; then the connection is closed or reset."""
    async with azure.opened(fault) as answer:
        received, problem = await arrived(answer)

    assert len(received) == int(answer.headers["content-length"]) // 2
    assert type(problem) is expected


@pytest.mark.parametrize("row", [row for row in FAULTS if row.calls != "every"], ids=lambda row: row.pattern)
async def test_faults_of_the_other_kind_of_call_are_none(azure, row):
    """A fault for streams leaves plain JSON alone, and one for JSON leaves streams alone."""
    name = row.pattern.replace("-K", "-1").replace("-MS", "-1").replace("-N", "-1")
    answer = await azure.fault(name, stream=row.calls == "json")

    good = answer.json()["data"] if row.calls == "stream" else events(answer)
    assert (answer.status_code, len(good)) == (200, 1)
    assert name == azure.calls.last.fault


@pytest.mark.parametrize("row", FAULTS, ids=lambda row: row.pattern)
def test_every_fault_is_found_by_its_name(row):
    """No name of a fault hides behind another's pattern."""
    name = row.pattern.replace("-N", "-3").replace("-K", "-3").replace("-MS", "-3")

    assert row is find_fault(name)


@pytest.mark.parametrize(
    "name", ["", "42", "429-", "slow-", "slow-x", "slow--1", "stream-cut-after-K", "slow-123456789"]
)
def test_what_is_no_fault(name):
    """Names that are not in the table are no faults."""
    assert find_fault(name) is None


async def test_only_the_first_calls_fail(azure):
    """With `-times-K` the first K calls to this very name fail; a label makes another name."""

    async def statuses(name):
        return [(await azure.draw(name)).status_code for _ in range(4)]

    assert await statuses("gpt-image-1--fault-429-times-2--one") == [429, 429, 200, 200]
    assert await statuses("gpt-image-1--fault-429-times-2--two") == [429, 429, 200, 200]
    assert await statuses("gpt-image-1--fault-429--one") == [429, 429, 429, 429]
    azure.calls.clear()
    assert await statuses("gpt-image-1--fault-429-times-2--one") == [429, 429, 200, 200]


async def test_a_header_asks_for_a_fault_too(azure):
    """`x-emulator-fault` has a deployment of any name meet a fault, before the one in its name."""
    asked = {"x-emulator-fault": "503-times-1"}

    statuses = [(await azure.draw("gpt-image-1--fault-429", headers=asked)).status_code for _ in range(2)]

    assert statuses == [503, 200]
    assert error(await azure.draw(headers={"x-emulator-fault": "unheard-of"}))["code"] == "unknown_fault"


@pytest.mark.parametrize("fault", ["500", "hang", "reset"])
async def test_a_bad_call_is_refused_before_it_meets_a_fault(azure, fault):
    """A fault happens to calls that are good otherwise, and only those use up its times."""
    answer = await azure.fault(f"{fault}-times-1", style="vivid")
    assert (answer.status_code, error(answer)["code"]) == (400, "unknown_parameter")
    assert azure.calls.last.fault is None
