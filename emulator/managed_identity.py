"""The token endpoint of an app's managed identity, as App Service offers it inside the app.

Facts: Azure App Service docs, "How to use managed identities", REST endpoint reference: `GET` with
`resource`, `api-version=2019-08-01`, optionally `client_id`, and the header `X-IDENTITY-HEADER`.
"""

import time

import orjson
from starlette.datastructures import Headers, QueryParams

from emulator.access import Credentials
from emulator.errors import JSON, HttpResponse

API_VERSION = "2019-08-01"
RESOURCES = ("https://ai.azure.com", "https://cognitiveservices.azure.com")
CLIENT_ID = "00000000-0000-0000-0000-0000000000e1"
"""The identity whose token is given when the request names none."""
TOKEN_SECONDS = 3_600


def answer_token_request(query: QueryParams, headers: Headers, accepted: Credentials) -> HttpResponse:
    """Answer with a token, or with the reason why there is none."""
    resource = query.get("resource", "")
    if headers.get("x-identity-header") != accepted.identity_header:
        return _refuse("The header X-IDENTITY-HEADER is missing or wrong.")
    if query.get("api-version") != API_VERSION:
        return _refuse(f"The api-version must be {API_VERSION}.")
    if resource.rstrip("/") not in RESOURCES:
        return _refuse("The resource principal was not found.")
    token = {
        "access_token": accepted.entra_token,
        "expires_on": str(int(time.time()) + TOKEN_SECONDS),
        "resource": resource,
        "token_type": "Bearer",
        "client_id": query.get("client_id", CLIENT_ID),
    }
    return HttpResponse(200, orjson.dumps(token))


def _refuse(message: str) -> HttpResponse:
    return HttpResponse(400, orjson.dumps({"statusCode": 400, "message": message}), (JSON,))
