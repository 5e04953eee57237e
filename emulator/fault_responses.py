"""What faults answer in place of a picture: Azure's errors, word for word where they are known.

Facts: Azure OpenAI docs ("Content filtering", "Quotas and limits", "Configure virtual networks") and answers
quoted in public issue reports, November 2026.
"""

import time
from codecs import BOM_UTF8
from dataclasses import replace
from email.utils import formatdate
from http import HTTPStatus

import orjson

from emulator import errors
from emulator.errors import IMAGE_USER_ERROR, INVALID_REQUEST, JSON, HttpResponse

HTML = ("content-type", "text/html")
REDIRECT_TARGET = "/openai/deployments/gpt-image-1--redirected/images/generations?api-version=2025-04-01-preview"
"""Where a redirect leads: a call there is counted, so a test sees that none was made."""

_VIOLENCE = {"violence": {"filtered": True, "severity": "medium"}}
_SAFETY = "Your request was rejected as a result of our safety system."
_BLOCKED = "Your request was rejected by the safety system."
_UNASKED_BODY = b'{"created":1,"data":[{"b64_json":"bm90IHlvdXJz"}]}'
_PAGE = "<html>\r\n<head><title>{0}</title></head>\r\n<body><h1>{0}</h1></body>\r\n</html>\r\n"


def content_policy(status: int = 400) -> HttpResponse:
    """400: the content filter refuses the prompt, with its results inside."""
    return errors.error(
        status,
        code="content_policy_violation",
        message=f"{_SAFETY} Your prompt may contain text that is not allowed by our safety system.",
        type=INVALID_REQUEST,
        inner_error={
            "code": "ResponsibleAIPolicyViolation",
            "content_filter_results": _VIOLENCE,
            "revised_prompt": "A drawing of a fight",
        },
    )


def content_filter() -> HttpResponse:
    """400: the content filter refuses the picture that was made; older words."""
    error = {"code": "contentFilter", "message": "Your task failed as a result of our safety system."}
    return HttpResponse(400, orjson.dumps({"created": int(time.time()), "error": error}))


def responsible_ai() -> HttpResponse:
    """400: the content filter refuses the prompt, and says so in the outer code."""
    return errors.error(
        400,
        code="ResponsibleAIPolicyViolation",
        message=f"{_SAFETY} Your prompt may contain text that is not allowed by our safety system.",
        param="prompt",
        innererror={"code": "ResponsibleAIPolicyViolation", "content_filter_result": _VIOLENCE},
    )


def moderation_blocked() -> HttpResponse:
    """400: GPT-image's own moderation refuses."""
    message = f"{_BLOCKED} If you believe this is an error, contact support and include the request ID."
    return errors.bad_request(message, param=None, code="moderation_blocked", kind=IMAGE_USER_ERROR)


def forbidden(message: str) -> HttpResponse:
    """403 `Forbidden`: the network rules, or the whole resource is blocked; only the words differ."""
    return errors.error(403, code="Forbidden", message=message)


NO_PUBLIC_ACCESS = "Public access is disabled. Please configure private endpoint."
RESOURCE_BLOCKED = (
    "Your resource has been temporarily blocked because we detected behavior that may violate our "
    "content policy. Please contact support to have it reviewed."
)


def too_many_requests(**headers: str) -> HttpResponse:
    """429, with the headers that say when to retry, if any; `retry_after="20"` is `retry-after: 20`."""
    return errors.error(
        429,
        tuple((name.replace("_", "-"), value) for name, value in headers.items()),
        code="429",
        message="Requests to the ImageGenerations_Create Operation under Azure OpenAI API version "
        "2025-04-01-preview have exceeded call rate limit of your current OpenAI S0 pricing tier. Please "
        "retry after 20 seconds. Please contact Azure support service if you would like to further "
        "increase the default rate limit.",
    )


def too_many_requests_for_20_seconds() -> HttpResponse:
    """429 as Azure mostly sends it: both headers agree."""
    return too_many_requests(retry_after="20", retry_after_ms="20000")


def insufficient_quota() -> HttpResponse:
    """429 that no wait will cure."""
    code = "insufficient_quota"
    return errors.error(429, code=code, type=code, message="The account has no quota left.", param=None)


def http_date(seconds: int) -> str:
    """Return the time so many seconds from now as HTTP writes it (RFC 9110, 5.6.7)."""
    return formatdate(time.time() + seconds, usegmt=True)


def server_error(status: int) -> HttpResponse:
    """5xx, 408, 413 or 422 in JSON."""
    words = {
        408: "The operation was timeout.",
        413: "The request body is too large.",
        422: "The request could not be processed.",
        500: "The server had an error while processing your request. Sorry about that!",
    }
    return errors.error(status, code=str(status), message=words.get(status, HTTPStatus(status).phrase))


def html_page(status: int) -> HttpResponse:
    """An HTML page, as a proxy in front of the service sends it."""
    return HttpResponse(status, _PAGE.format(f"{status} {HTTPStatus(status).phrase}").encode(), (HTML,))


def with_byte_order_mark(response: HttpResponse) -> HttpResponse:
    """Put a byte order mark before the body."""
    return replace(response, body=BOM_UTF8 + response.body)


def redirect() -> HttpResponse:
    """302 to a path on this host that would count as a call."""
    return HttpResponse(302, b"", (("location", REDIRECT_TARGET),))


def without_image(*items: dict[str, str]) -> HttpResponse:
    """200 that has everything but a picture."""
    return HttpResponse(200, orjson.dumps({"created": int(time.time()), "data": items}), (JSON,))


UNASKED_RESPONSE = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (
    len(_UNASKED_BODY),
    _UNASKED_BODY,
)
"""A whole response that belongs to no request."""
