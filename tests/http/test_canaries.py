"""Nothing that must not be seen is seen: canaries are planted in every secret, and looked for in everything written."""

from __future__ import annotations

import json
import logging
from typing import Any

import jwt
import pytest

from emulator.loopback import serving
from tests.house import house, key_record, sha256
from tests.http.test_who import AUDIENCE, ISSUER, TRUST, claims
from tests.http.wire import QUICK, path

pytestmark = pytest.mark.asyncio(loop_scope="module")

CANARIES = {
    "virtual key": "sk-bf-canary-virtual-key",
    "unknown key": "sk-bf-canary-unknown-key",
    "JWT secret": "canary-jwt-secret-of-more-than-32-bytes",
    "Azure key": "canary-azure-key",
    "identity token": "canary-identity-token",
    "identity header": "canary-identity-header",
    "prompt": "canary prompt of a caller",
    "user": "canary-user-of-a-caller",
    "unknown field": "canary-unknown-field",
    "cookie": "canary-cookie-of-a-caller",
    "upstream": "canary in what upstream said",
}
BACKEND_COOKIE = "canary-cookie-of-a-backend"
PICTURE = "Y2FuYXJ5" * 40
"""The base64 of canaries."""

FAULTS = [
    "content-policy",
    "unknown-parameter",
    "401",
    "403",
    "404",
    "429",
    "500",
    "503-html",
    "200-not-json",
    "200-without-image",
    "200-cut",
    "reset",
    "stream-cut-after-1",
    "stream-cut-midway",
    "stream-error-after-1",
    "stream-junk",
    "stream-moderation-after-0",
    "stream-reset-after-1",
    "hang",
]
BODIES: list[dict[str, Any]] = [
    {},
    {"stream": True},
    {"stream": True, "n": 2},
    {"size": "256x256"},
    {"n": 0},
    {"prompt": CANARIES["prompt"] * 2_000},
    {"user": CANARIES["user"] * 50},
    {"fallbacks": ["gpt-image-2", "ghost"]},
    {"response_format": "url"},
    {"style": "vivid"},
]


def _catalogue(azure: str) -> dict[str, Any]:
    """Deployments by key and by identity, and one for each fault."""
    keyed = {"endpoint": "{emulator}", "api_key": "env:CANARY_AZURE_KEY"}
    return {
        "deployments": {
            "gpt-image-1": {"targets": [{**keyed, "deployment": QUICK}]},
            "gpt-image-2": {"targets": [{"endpoint": "{emulator}", "deployment": "gpt-image-2--fault-bytes-400"}]},
            "dall-e-3": {"targets": [{**keyed, "deployment": "dall-e-3--fault-bytes-400"}]},
            "flux-1.1-pro": {"targets": [{**keyed, "deployment": "flux-1.1-pro--fault-bytes-400"}]},
            "picture": {"targets": [{"endpoint": azure, "api_key": "env:CANARY_AZURE_KEY"}]},
            "broken": {"targets": [{"endpoint": azure, "api_key": "env:CANARY_AZURE_KEY"}]},
            "elsewhere": {"targets": [{"endpoint": "http://127.0.0.1:1", "api_key": "env:CANARY_AZURE_KEY"}]},
            **{f"fault-{fault}": {"targets": [{**keyed, "deployment": f"fault-{fault}"}]} for fault in FAULTS},
        }
    }


async def _azure(scope: Any, receive: Any, send: Any) -> None:
    """An upstream whose picture is made of canaries, and whose broken answers are too."""
    if scope["type"] != "http":
        raise NotImplementedError
    whole = json.dumps({"created": 1, "data": [{"b64_json": PICTURE}]})
    body = whole if "/picture/" in scope["path"] else f"{whole[:-40]} {CANARIES['upstream']}"
    cookie = (b"set-cookie", BACKEND_COOKIE.encode())
    await send({"type": "http.response.start", "status": 200, "headers": [cookie]})
    await send({"type": "http.response.body", "body": body.encode()})


def _listen_to_everything() -> None:
    """Let every logger that there is by now write all it can."""
    for name in list(logging.root.manager.loggerDict):
        logging.getLogger(name).setLevel(logging.NOTSET)


@pytest.fixture
def loud(caplog):
    """Everything that is logged, at DEBUG for all loggers; their own levels are put back."""
    before = {name: logging.getLogger(name).level for name in logging.root.manager.loggerDict}
    caplog.set_level(logging.DEBUG)
    _listen_to_everything()
    yield caplog
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)


async def test_canaries(loud):
    """No secret, prompt or picture is in anything that is logged, in any header, or in the body of any error."""
    signed = [
        jwt.encode(claims(**changed), CANARIES["JWT secret"], "HS256")
        for changed in ({}, {"role": "admin"}, {"exp": 1}, {"sub": "nobody"}, {"iss": "x"})
    ]
    planted = [
        *CANARIES.values(),
        PICTURE[:24],
        sha256(CANARIES["virtual key"]),
        *signed,
        *(part.split(".")[2] for part in signed),
    ]
    answers = []
    async with (
        serving(_azure) as url,
        house(
            emulator={
                "api_key": CANARIES["Azure key"],
                "entra_token": CANARIES["identity token"],
                "identity_header": CANARIES["identity header"],
            },
            AZURE_OPENAI_API_KEY=None,
            CANARY_AZURE_KEY=CANARIES["Azure key"],
            IDENTITY_ENDPOINT="{emulator}/identity/token",
            IDENTITY_HEADER=CANARIES["identity header"],
            GATEWAY_VIRTUAL_KEYS=[key_record(CANARIES["virtual key"])],
            GATEWAY_JWT_SECRET=CANARIES["JWT secret"],
            GATEWAY_CATALOGUE=_catalogue(url),
            GATEWAY_ATTEMPT_SECONDS="0.5",
            GATEWAY_MAX_RETRIES="0",
            **TRUST,
        ) as own,
    ):
        assert (ISSUER, AUDIENCE) == tuple(TRUST.values())

        async def draw(deployment: str, key: str | None = CANARIES["virtual key"], **fields: Any) -> int:
            body = {"prompt": CANARIES["prompt"], "user": CANARIES["user"], **fields}
            answers.append(await own.draw(deployment, key=key, headers={"cookie": CANARIES["cookie"]}, **body))
            _listen_to_everything()  # also to those that have come meanwhile
            return answers[-1].status_code

        # pictures, by key and by identity
        assert [200] * 3 == [await draw(name) for name in ("gpt-image-1", "gpt-image-2", "picture")]
        assert 200 == await draw("picture", stream=True)
        for deployment in ("gpt-image-1", "gpt-image-2", "dall-e-3", "flux-1.1-pro"):
            for fields in BODIES:
                await draw(deployment, **fields)
            await draw(deployment, tomorrow=CANARIES["unknown field"])
        # refusals here
        for token in (None, CANARIES["unknown key"], *signed):
            await draw("gpt-image-1", key=token)
        key = {"api-key": CANARIES["virtual key"]}
        broken = [b"", CANARIES["prompt"].encode(), b'{"prompt": "%s", ' % CANARIES["prompt"].encode()]
        answers += [await own.http.post(path("gpt-image-1"), headers=key, content=content) for content in broken]
        answers.append(await own.http.get(path("gpt-image-1"), headers=key))
        # failures there
        for deployment in ("broken", "elsewhere", "ghost", *(f"fault-{fault}" for fault in FAULTS)):
            for stream in (False, True):
                await draw(deployment, stream=stream, partial_images=2)
        # a fault of ours: a body that can be read and not be written
        nested = b'{"model": "m", "prompt": "%s", "x": %s1%s}' % (CANARIES["prompt"].encode(), b"[" * 300, b"]" * 300)
        answers.append(await own.http.post(path("gpt-image-1"), headers=key, content=nested))

    written = [loud.handler.format(record) for record in loud.records]
    written += [f"{record.__dict__}" for record in loud.records]
    headers = [f"{name}: {value}" for answer in answers for name, value in answer.headers.items()]
    errors = [answer.text for answer in answers if answer.status_code != 200]
    errors += [answer.text.partition("event: error\n")[2] for answer in answers if answer.status_code == 200]
    for place in (written, headers, errors):
        assert [] == [(canary, line) for canary in planted for line in place if canary in line][:1]
    assert [] == [line for line in (*headers, *errors) if BACKEND_COOKIE in line]
    # and the canaries were there to be found, and something was listened to
    assert any(PICTURE in answer.text for answer in answers)
    assert {"gateway.calls", "httpcore2.http11"} <= {record.name for record in loud.records}
    assert {"200", "400", "401", "404", "429", "502", "504"} <= {str(answer.status_code) for answer in answers}
