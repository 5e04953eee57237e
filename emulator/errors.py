"""The errors with which Azure answers a bad request: each function makes one, word for word.

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
class HttpResponse:
    """A whole response: status, body, and headers of its own."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = (JSON,)


class RequestRefused(Exception):
    """The request is refused; `response` is Azure's error."""

    def __init__(self, response: HttpResponse) -> None:
        super().__init__(response.status)
        self.response = response


def error(status: int, headers: tuple[tuple[str, str], ...] = (), **fields: Any) -> HttpResponse:
    """Any error that Azure wraps in `error`."""
    return HttpResponse(status, orjson.dumps({"error": fields}), (JSON, *headers))


def bad_request(message: str, *, param: str | None, code: str | None, kind: str = INVALID_REQUEST) -> HttpResponse:
    """400 as the model's own server words it: message, type, param, code."""
    return error(400, message=message, type=kind, param=param, code=code)


def invalid_payload(message: str) -> HttpResponse:
    """400 as DALL-E's server on Azure words it."""
    return error(400, code="invalidPayload", message=message)


def invalid_property(name: str) -> HttpResponse:
    """400: a value that DALL-E's server does not accept."""
    return invalid_payload(f"Invalid payload: Value for property {name} is invalid.")


def unknown_parameter(name: str) -> HttpResponse:
    """400: a key that the model does not know."""
    return bad_request(f"Unknown parameter: '{name}'.", param=name, code="unknown_parameter")


def not_json() -> HttpResponse:
    """400: the body is not one JSON object."""
    return bad_request("We could not parse the JSON body of your request.", param=None, code=None)


def resource_not_found() -> HttpResponse:
    """404: no such path, or no such api-version."""
    return error(404, code="404", message="Resource not found")


def deployment_not_found() -> HttpResponse:
    """404: no such deployment."""
    return error(
        404,
        code="DeploymentNotFound",
        message="The API deployment for this resource does not exist. If you created the deployment within "
        "the last 5 minutes, please wait a moment and try again.",
    )


def wrong_operation(model: str) -> HttpResponse:
    """404: the api-version is older than the model."""
    return error(
        404,
        code="OperationNotSupported",
        message=f"The imagegenerations operation does not work with the specified model, {model}. "
        "Please choose different model and try again.",
    )


def access_denied() -> HttpResponse:
    """401; the one error that has no `error` around it."""
    message = (
        "Access denied due to invalid subscription key. Make sure to provide a valid key for an active subscription."
    )
    return HttpResponse(401, orjson.dumps({"statusCode": 401, "message": message}))


def too_many_headers() -> HttpResponse:
    """431: more than 10 custom headers."""
    return error(
        431,
        code="431",
        message="Request Header Fields Too Large: a request may have up to 10 custom headers.",
    )
