"""Generations that a queue message asks for, without HTTP. The storage account decides who may write to the queue.

A message is a request with the id of a virtual key, whose limits count; or the same as the `data` of a CloudEvent. Its
outcome is stored under the message's id, and the same id twice is one generation. A message that is not a valid request
is an outcome, too: it would not be better when delivered again.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import secrets
from typing import TYPE_CHECKING, Annotated, Any, Final

import orjson
from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from core.domain.errors import InvalidRequest
from core.domain.json_input import parse_json
from core.domain.request import DEPLOYMENT_NAME
from core.domain.wrong_field import wrong_field
from core.jobs.job import JobRequest

if TYPE_CHECKING:
    from core.jobs.runner import JobRunner
    from core.jobs.store import JobStore

QUEUE: Final = "image-requests"

_RESULT_NAME: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,126}[A-Za-z0-9_-])?")
"""An id becomes part of blobs' names, whose parts do not end with a dot (Azure Storage docs, "Naming containers")."""
_ID_IN_TEXT: Final = re.compile(rf'"id"\s*:\s*"({_RESULT_NAME.pattern})"')
_SPEC_VERSION: Final = "specversion"
_LEGAL: Final = {
    "id": "1 to 128 of A-Z a-z 0-9 . _ -, the first a letter or digit, the last no dot",
    "deployment": "a deployment name: a letter or digit, then at most 63 of A-Z a-z 0-9 . _ -",
    "virtual_key_id": "a string of 1 to 128 characters",
    "request": "an object",
}


class QueueRequest(BaseModel):
    """A message that asks for pictures."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True, defer_build=True)

    id: Annotated[str, StringConstraints(pattern=rf"\A{_RESULT_NAME.pattern}\z")]
    deployment: Annotated[str, StringConstraints(pattern=rf"\A{DEPLOYMENT_NAME.pattern}\z")]
    virtual_key_id: Annotated[str, StringConstraints(min_length=1, max_length=128)]
    request: dict[str, Any]


class QueueConsumer:
    """Turns queue messages into jobs, and runs them."""

    def __init__(self, jobs: JobStore, runner: JobRunner) -> None:
        self._jobs = jobs
        self._runner = runner

    async def consume(self, text: str, message_id: str, delivery: int) -> None:
        """Run the job that a message asks for; `delivery` counts the message's deliveries from 1.

        Raises the error for which the message is to be delivered again.
        """
        refused: InvalidRequest | None = None
        try:
            queue_request = _read(text)
            order = _order(
                queue_request.id,
                queue_request.virtual_key_id,
                queue_request.deployment,
                orjson.dumps(queue_request.request),
            )
        except InvalidRequest as wrong:
            refused = wrong
            order = _order(_find_id(text) or f"invalid-{_digest(message_id or text)}", "", "", b"")
        job = await self._jobs.accept(f"letter-{_digest(order.result or '')}", order, refused=refused)
        await self._runner.run(job.id, delivery)


def _order(name: str, caller: str, deployment: str, request: bytes) -> JobRequest:
    return JobRequest(
        caller=caller, deployment=deployment, request=request, event_id=secrets.token_hex(16), result=name
    )


def _read(text: str) -> QueueRequest:
    value = _content(_value(text))
    if not isinstance(value, dict):
        raise InvalidRequest("A message must be a JSON object, or a CloudEvent whose data is one", code="invalid_json")
    try:
        return QueueRequest.model_validate(value)
    except ValidationError as invalid:
        raise wrong_field(invalid, value, _LEGAL) from None


def _value(text: str | bytes) -> Any:
    return parse_json(text if isinstance(text, bytes) else text.encode(errors="replace"), "The message")


def _find_id(text: str) -> str | None:
    """The id of a message that is wrong in another respect, so that its sender finds the outcome.

    It is the id of the request, else of the CloudEvent around it; of a text that is not JSON, the first that looks so.
    """
    try:
        event = _value(text)
    except InvalidRequest:
        found = _ID_IN_TEXT.search(text)
        return found.group(1) if found else None
    try:
        request = _content(event)
    except InvalidRequest:
        request = None
    given = [value.get("id") for value in (request, event) if isinstance(value, dict)]
    return next((each for each in given if isinstance(each, str) and _RESULT_NAME.fullmatch(each)), None)


def _content(value: Any) -> Any:
    """What a CloudEvent carries (CloudEvents 1.0.2, JSON format, §3.1); anything else is the message itself."""
    if not isinstance(value, dict) or _SPEC_VERSION not in value:
        return value
    encoded = value.get("data_base64")
    if encoded is None:
        return value.get("data")
    try:
        return _value(base64.b64decode(encoded, validate=True))
    except (binascii.Error, ValueError, TypeError):
        raise InvalidRequest("data_base64 is not base64", code="invalid_value", param="data_base64") from None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
