"""What every SDK is told to do, and what it must then say: the same for all of them."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from PIL import Image

from tests.house import KEY, PROMPT, ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.house import House

NARROW = "sk-bf-the-key-that-may-little"
API_VERSION = "2025-04-01-preview"
CLIENTS = ROOT / ".cache" / "clients"
PARTIAL = "image_generation.partial_image"
COMPLETED = "image_generation.completed"
CUT = "fault-stream-cut-after-1"
"""A deployment whose stream breaks off after a partial image."""
LOST = "fault-200-empty"
"""A deployment whose picture may have been paid for, and is lost."""


@dataclass(frozen=True, kw_only=True)
class Refused:
    """A call that fails, and the typed error that an SDK raises."""

    deployment: str = "gpt-image-1"
    key: str = KEY
    n: int = 1
    raises: str
    """The error's class, which has the same name in Python and Node."""
    status: int
    code: str
    type: str
    param: str | None = None

    @property
    def hangs(self) -> bool:
        """Whether it is to be asked of the gateway that does not wait for long."""
        return self.status == 504


REFUSED = {
    "401": Refused(
        key="sk-bf-unknown",
        raises="AuthenticationError",
        status=401,
        code="invalid_credentials",
        type="authentication_error",
    ),
    "403": Refused(
        deployment="gpt-image-2",
        key=NARROW,
        raises="PermissionDeniedError",
        status=403,
        code="deployment_not_allowed",
        type="permission_error",
    ),
    "400 of ours": Refused(
        n=11, raises="BadRequestError", status=400, code="invalid_value", type="invalid_request_error", param="n"
    ),
    "400 of Azure's": Refused(
        deployment="fault-content-policy",
        raises="BadRequestError",
        status=400,
        code="content_policy_violation",
        type="invalid_request_error",
    ),
    "404": Refused(
        deployment="never-deployed",
        raises="NotFoundError",
        status=404,
        code="deployment_not_found",
        type="upstream_error",
    ),
    "422": Refused(
        deployment="fault-422", raises="UnprocessableEntityError", status=422, code="422", type="invalid_request_error"
    ),
    "429": Refused(deployment="fault-429", raises="RateLimitError", status=429, code="429", type="rate_limit_error"),
    "502": Refused(
        deployment="fault-500", raises="InternalServerError", status=502, code="upstream_error", type="upstream_error"
    ),
    "504": Refused(
        deployment="fault-hang",
        raises="InternalServerError",
        status=504,
        code="upstream_timeout",
        type="upstream_error",
    ),
}


def tasks(mark: str, gateway: House, hasty: House) -> str:
    """All that a client in its own process is told, as JSON; names that fail end with its mark, so are asked once."""
    return json.dumps(
        {
            "endpoint": f"{gateway.url}/openai",
            "api_version": API_VERSION,
            "key": KEY,
            "prompt": PROMPT,
            "cut": f"{CUT}--{mark}",
            "lost": f"{LOST}--{mark}",
            "refused": {
                name: {
                    **asdict(each),
                    "deployment": named(each.deployment, mark),
                    "endpoint": f"{(hasty if each.hangs else gateway).url}/openai",
                }
                for name, each in REFUSED.items()
            },
        }
    )


def named(deployment: str, mark: str) -> str:
    """A deployment's name with a label, where it is one of those that fail."""
    return f"{deployment}--{mark}" if deployment.startswith("fault-") else deployment


async def run(command: list[str | Path], task: str, **environment: str) -> dict[str, Any]:
    """Run a client, told its task on standard input, and give what it says: one JSON object."""
    process = await asyncio.create_subprocess_exec(
        *command,
        env={**os.environ, **environment},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        out, err = await process.communicate(task.encode())
    assert (process.returncode, err.decode()) == (0, "")
    said: dict[str, Any] = json.loads(out)
    return said


def pixels(b64_json: str) -> tuple[str | None, tuple[int, int]]:
    """The format and size of a picture."""
    with Image.open(io.BytesIO(base64.b64decode(b64_json, validate=True))) as image:
        image.load()
        return image.format, image.size


def check(said: dict[str, Any], gateway: House, mark: str) -> None:
    """Find all that a client in a process of its own has said to be right."""
    assert ("PNG", (1536, 1024)) == pixels(said["json"]["b64_json"])
    assert ("gpt-image-1", True) == (said["json"]["deployment"], said["json"]["total_tokens"] > 0)
    assert [[PARTIAL, 0], [PARTIAL, 1], [COMPLETED, None]] == said["stream"]["events"]
    assert said["stream"]["total_tokens"] > 0
    assert ("PNG", (1024, 1024)) == pixels(said["stream"]["b64_json"])
    assert [PARTIAL] == said["cut"]["events"]
    assert ("APIError", "upstream_error") == (said["cut"]["raises"], said["cut"]["code"])
    assert ("InternalServerError", 1) == (said["lost"]["raises"], gateway.calls.count(f"{LOST}--{mark}"))
    expected = {
        name: {"raises": each.raises, "status": each.status, "code": each.code, "type": each.type, "param": each.param}
        for name, each in REFUSED.items()
    }
    ids = {name: each.pop("request_id") for name, each in said["refused"].items()}
    assert expected == said["refused"]
    assert len(REFUSED) == len(set(filter(None, ids.values())))
