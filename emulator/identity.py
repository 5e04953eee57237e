"""The token endpoint of an app's managed identity, as App Service offers it inside the app.

Facts: Azure App Service docs, "How to use managed identities", REST endpoint reference: `GET` with
`resource`, `api-version=2019-08-01`, optionally `client_id`, and the header `X-IDENTITY-HEADER`.
"""

import time

import orjson
from starlette.datastructures import Headers, QueryParams

from emulator.doors import Secrets
from emulator.errors import JSON, Answer

API_VERSION = "2019-08-01"
RESOURCES = ("https://ai.azure.com", "https://cognitiveservices.azure.com")
CLIENT_ID = "00000000-0000-0000-0000-0000000000e1"
"""The identity that answers when the question names none."""
LIFE_SECONDS = 3_600


def token(query: QueryParams, headers: Headers, accepted: Secrets) -> Answer:
    """Answer a question for a token."""
    resource = query.get("resource", "")
    if headers.get("x-identity-header") != accepted.identity_header:
        return _refused("The header X-IDENTITY-HEADER is missing or wrong.")
    if query.get("api-version") != API_VERSION:
        return _refused(f"The api-version must be {API_VERSION}.")
    if resource.rstrip("/") not in RESOURCES:
        return _refused("The resource principal was not found.")
    answer = {
        "access_token": accepted.entra_token,
        "expires_on": str(int(time.time()) + LIFE_SECONDS),
        "resource": resource,
        "token_type": "Bearer",
        "client_id": query.get("client_id", CLIENT_ID),
    }
    return Answer(200, orjson.dumps(answer))


def _refused(message: str) -> Answer:
    return Answer(400, orjson.dumps({"statusCode": 400, "message": message}), (JSON,))
