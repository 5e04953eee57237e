"""What a request's headers must be: credentials, and how many; and the headers that every response has.

Facts: Azure OpenAI docs, REST reference ("Authentication": header `api-key`, or `Authorization: Bearer` with
a Microsoft Entra token; the v1 API also takes the key as Bearer, as the OpenAI SDKs send it) and "Quotas and
limits" ("Maximum number of custom headers in an API request: 10").
"""

import secrets
import uuid
from dataclasses import dataclass

from starlette.datastructures import Headers

from emulator.calls import SECRET_HEADERS, Auth, Kind

MAX_CUSTOM_HEADERS = 10
FAULT_HEADER = "x-emulator-fault"

_STANDARD_HEADERS = """
accept accept-charset accept-encoding accept-language api-key authorization cache-control connection
content-encoding content-length content-type cookie date expect forwarded from host if-match if-modified-since
if-none-match if-unmodified-since keep-alive max-forwards origin pragma referer te trailer transfer-encoding
traceparent tracestate upgrade user-agent via
"""
_KNOWN_HEADERS = frozenset([*_STANDARD_HEADERS.split(), FAULT_HEADER])


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """What this emulator accepts."""

    api_key: str
    entra_token: str
    identity_header: str


def authenticate(headers: Headers, kind: Kind, accepted: Credentials) -> Auth:
    """Return the kind of credential a call has; `none` and `wrong` are refused."""
    key = headers.get("api-key")
    scheme, _, bearer = headers.get("authorization", "").partition(" ")
    bearer = bearer.strip() if scheme.lower() == "bearer" else ""
    if key is not None and _is_same(key, accepted.api_key):
        return "key"
    if kind == "v1" and _is_same(bearer, accepted.api_key):
        return "key"
    if _is_same(bearer, accepted.entra_token):
        return "bearer"
    return "wrong" if key or bearer else "none"


def _is_same(one: str, other: str) -> bool:
    return secrets.compare_digest(one.encode(), other.encode())


def count_custom_headers(headers: Headers) -> int:
    """Count the headers that are neither HTTP's own nor Azure's."""
    return sum(name not in _KNOWN_HEADERS for name in headers)


def mask_secrets(headers: Headers) -> tuple[tuple[str, str], ...]:
    """Return the headers with `***` as the value of those that are secret."""
    return tuple((name, "***" if name in SECRET_HEADERS else value) for name, value in headers.items())


def response_headers(status: int) -> list[tuple[str, str]]:
    """Make the headers that Azure's gateway adds to every response, and the model's server to a successful one."""
    request_id = str(uuid.uuid4())
    headers = [
        ("apim-request-id", request_id),
        ("x-request-id", str(uuid.uuid4())),
        ("x-ms-region", "Sweden Central"),
        ("strict-transport-security", "max-age=31536000; includeSubDomains; preload"),
        ("x-content-type-options", "nosniff"),
        ("set-cookie", f"ApplicationGatewayAffinity={request_id}; Path=/; HttpOnly"),
    ]
    if status != 200:
        return headers
    return [
        *headers,
        ("x-ratelimit-limit-requests", "9"),
        ("x-ratelimit-remaining-requests", "8"),
        ("x-ratelimit-reset-requests", "0"),
        ("azureml-model-session", "d20260421-emulator"),
        ("x-ms-client-request-id", request_id),
    ]
