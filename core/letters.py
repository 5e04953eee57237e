"""Generations started by a message in a queue, without HTTP. Who may write to it is the storage account's affair.

A message is a request with the id of a virtual key, whose limits count; or the same as the `data` of a CloudEvent. Its
outcome is put beside the others under its id, and the same id twice is one generation. A message that is no valid
request is an outcome, too: it would not be better when delivered again.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from typing import TYPE_CHECKING, Annotated, Any, Final

import orjson
from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from core.contract.errors import InvalidRequest
from core.contract.request import DEPLOYMENT_NAME
from core.keeping.jobs import Order
from core.keeping.refusal import refusal_body

if TYPE_CHECKING:
    from core.announcing import Announcer
    from core.keeping.jobs import Jobs
    from core.workshop import Workshop

QUEUE: Final = "image-requests"

_RESULT_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
"""An id becomes part of a blob's name."""
_SPEC_VERSION: Final = "specversion"


class Letter(BaseModel):
    """A message that asks for pictures."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True, defer_build=True)

    id: Annotated[str, StringConstraints(pattern=rf"\A{_RESULT_NAME.pattern}\z")]
    deployment: Annotated[str, StringConstraints(pattern=rf"\A{DEPLOYMENT_NAME.pattern}\z")]
    virtual_key_id: Annotated[str, StringConstraints(min_length=1, max_length=128)]
    request: dict[str, Any]


class Letterbox:
    """Takes messages in."""

    def __init__(self, jobs: Jobs, workshop: Workshop, announcer: Announcer) -> None:
        self._jobs = jobs
        self._workshop = workshop
        self._announcer = announcer

    async def take(self, text: str, message_id: str, delivery: int) -> None:
        """Carry out what a message asks for; `delivery` counts its deliveries from 1.

        Raises what the message is to be delivered again for.
        """
        try:
            letter = _read(text)
        except InvalidRequest as wrong:
            event_id = secrets.token_hex(16)
            await self._announcer.refuse(
                _name_of(text) or f"invalid-{_digest(message_id)}", wrong, refusal_body(wrong, event_id), event_id
            )
            return
        order = Order(
            caller=letter.virtual_key_id,
            deployment=letter.deployment,
            request=orjson.dumps(letter.request),
            event_id=secrets.token_hex(16),
            result=letter.id,
        )
        job = await self._jobs.accept(f"letter-{_digest(letter.id)}", order)
        await self._workshop.carry_out(job.id, delivery)


def _read(text: str) -> Letter:
    value = _content(_value(text))
    if not isinstance(value, dict):
        raise InvalidRequest("A message must be a JSON object, or a CloudEvent whose data is one", code="invalid_json")
    try:
        return Letter.model_validate(value)
    except ValidationError as invalid:
        first = invalid.errors(include_url=False, include_context=False, include_input=False)[0]
        field = str(first["loc"][0])
        raise InvalidRequest(
            f"{field}: {first['msg']}; a message has id, deployment, virtual_key_id and request", param=field
        ) from None


def _value(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(
            f"The message is not valid JSON (line {error.lineno}, column {error.colno})", code="invalid_json"
        ) from None


def _name_of(text: str) -> str | None:
    """The id of a message that is wrong in another respect, so that its sender finds the answer."""
    try:
        value = _content(_value(text))
    except InvalidRequest:
        return None
    given = value.get("id") if isinstance(value, dict) else None
    return given if isinstance(given, str) and _RESULT_NAME.fullmatch(given) else None


def _content(value: Any) -> Any:
    """What a CloudEvent carries; anything else is the message itself."""
    return value.get("data") if isinstance(value, dict) and _SPEC_VERSION in value else value


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
