"""Who may come in: keys, tokens, and how many headers; and the headers that every answer leaves with.

Facts: Azure OpenAI docs, REST reference ("Authentication": header `api-key`, or `Authorization: Bearer` with
a Microsoft Entra token; the v1 API also takes the key as Bearer, as the OpenAI SDKs send it) and "Quotas and
limits" ("Maximum number of custom headers in an API request: 10").
"""

import secrets
import uuid
from dataclasses import dataclass

from starlette.datastructures import Headers

from emulator.calls import SECRET_HEADERS, Auth, Kind

MOST_CUSTOM_HEADERS = 10
FAULT_HEADER = "x-emulator-fault"

_STANDARD = """
accept accept-charset accept-encoding accept-language api-key authorization cache-control connection
content-encoding content-length content-type cookie date expect forwarded from host if-match if-modified-since
if-none-match if-unmodified-since keep-alive max-forwards origin pragma referer te trailer transfer-encoding
traceparent tracestate upgrade user-agent via
"""
_KNOWN = frozenset([*_STANDARD.split(), FAULT_HEADER])


@dataclass(frozen=True, kw_only=True)
class Secrets:
    """What this emulator accepts."""

    api_key: str
    entra_token: str
    identity_header: str


def auth(headers: Headers, kind: Kind, accepted: Secrets) -> Auth:
    """Say by which credential a call comes in; `none` and `wrong` do not."""
    key = headers.get("api-key")
    scheme, _, bearer = headers.get("authorization", "").partition(" ")
    bearer = bearer.strip() if scheme.lower() == "bearer" else ""
    if key is not None and _same(key, accepted.api_key):
        return "key"
    if kind == "v1" and _same(bearer, accepted.api_key):
        return "key"
    if _same(bearer, accepted.entra_token):
        return "bearer"
    return "wrong" if key or bearer else "none"


def _same(one: str, other: str) -> bool:
    return secrets.compare_digest(one.encode(), other.encode())


def custom_headers(headers: Headers) -> int:
    """Count the headers that are neither HTTP's own nor Azure's."""
    return sum(name not in _KNOWN for name in headers)


def recorded(headers: Headers) -> tuple[tuple[str, str], ...]:
    """Give the headers as the record keeps them: of secrets only the names."""
    return tuple((name, "***" if name in SECRET_HEADERS else value) for name, value in headers.items())


def answer_headers(status: int) -> list[tuple[str, str]]:
    """Make the headers that Azure's gateway puts on an answer, those of the model's server on a good one."""
    number = str(uuid.uuid4())
    headers = [
        ("apim-request-id", number),
        ("x-request-id", str(uuid.uuid4())),
        ("x-ms-region", "Sweden Central"),
        ("strict-transport-security", "max-age=31536000; includeSubDomains; preload"),
        ("x-content-type-options", "nosniff"),
        ("set-cookie", f"ApplicationGatewayAffinity={number}; Path=/; HttpOnly"),
    ]
    if status != 200:
        return headers
    return [
        *headers,
        ("x-ratelimit-limit-requests", "9"),
        ("x-ratelimit-remaining-requests", "8"),
        ("x-ratelimit-reset-requests", "0"),
        ("azureml-model-session", "d20260421-emulator"),
        ("x-ms-client-request-id", number),
    ]
