"""Azure's own words when it says no: each function is one answer, in the shape that Azure sends.

Facts: Azure OpenAI docs ("Content filtering", "Quotas and limits", REST reference) and answers quoted in
public issue reports, November 2026.
"""

from dataclasses import dataclass
from typing import Any

import orjson

JSON = ("content-type", "application/json")
TEXT = ("content-type", "text/plain")

INVALID_REQUEST = "invalid_request_error"
IMAGE_USER_ERROR = "image_generation_user_error"


@dataclass(frozen=True)
class Answer:
    """A whole answer: a status, headers of its own, and a body."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = (JSON,)


class Refused(Exception):
    """The call is not honoured; `answer` says so in Azure's words."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


def error(status: int, headers: tuple[tuple[str, str], ...] = (), **fields: Any) -> Answer:
    """Any error that Azure wraps in `error`."""
    return Answer(status, orjson.dumps({"error": fields}), (JSON, *headers))


def bad_request(message: str, *, param: str | None, code: str | None, kind: str = INVALID_REQUEST) -> Answer:
    """400 as the model's own server words it: message, type, param, code."""
    return error(400, message=message, type=kind, param=param, code=code)


def invalid_payload(message: str) -> Answer:
    """400 as DALL-E's server on Azure words it."""
    return error(400, code="invalidPayload", message=message)


def invalid_property(name: str) -> Answer:
    """400: a value that DALL-E's server does not take."""
    return invalid_payload(f"Invalid payload: Value for property {name} is invalid.")


def unknown_parameter(name: str) -> Answer:
    """400: a key that the model does not know."""
    return bad_request(f"Unknown parameter: '{name}'.", param=name, code="unknown_parameter")


def not_json() -> Answer:
    """400: the body is not one JSON object."""
    return bad_request("We could not parse the JSON body of your request.", param=None, code=None)


def resource_not_found() -> Answer:
    """404: no such path, or no such api-version."""
    return error(404, code="404", message="Resource not found")


def deployment_not_found() -> Answer:
    """404: no such deployment."""
    return error(
        404,
        code="DeploymentNotFound",
        message="The API deployment for this resource does not exist. If you created the deployment within "
        "the last 5 minutes, please wait a moment and try again.",
    )


def wrong_operation(model: str) -> Answer:
    """400: the api-version is older than the model."""
    return error(
        400,
        code="OperationNotSupported",
        message=f"The imagegenerations operation does not work with the specified model, {model}. "
        "Please choose different model and try again.",
    )


def access_denied() -> Answer:
    """401; the one error that has no `error` around it."""
    message = (
        "Access denied due to invalid subscription key. Make sure to provide a valid key for an active subscription."
    )
    return Answer(401, orjson.dumps({"statusCode": 401, "message": message}))


def too_many_headers() -> Answer:
    """431: more than 10 custom headers."""
    return error(
        431,
        code="431",
        message="Request Header Fields Too Large: a request may have up to 10 custom headers.",
    )
