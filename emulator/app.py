"""The service: from a request to a record, a check, a fault or a picture.

Facts: Azure OpenAI docs, REST reference: the deployment path with its dated `api-version`, and the v1 path
with the deployment's name in the body's `model`.
"""

from functools import partial

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Route

from emulator.calls import Calls
from emulator.doors import Secrets, answer_headers
from emulator.errors import Answer, resource_not_found
from emulator.front import page
from emulator.pictures import Shelf
from emulator.service import Endpoint, Service

DEPLOYMENT_PATH = "/openai/deployments/{deployment}/images/generations"
V1_PATH = "/openai/v1/images/generations"
IDENTITY_PATH = "/identity/token"


def create_app(
    *,
    api_key: str = "emulator-key",
    entra_token: str = "emulator-entra-token",  # noqa: S107
    identity_header: str = "emulator-identity-header",
    delay_seconds: float = 0.0,
) -> Starlette:
    """Build the emulator; serve it with `http=emulator.server.Protocol`.

    `delay_seconds` is how long the model thinks about a picture, spread over its partial images.
    `app.state.calls` is the record of all that was asked.
    """
    secrets = Secrets(api_key=api_key, entra_token=entra_token, identity_header=identity_header)
    calls, shelf = Calls(), Shelf()
    service = Service(secrets=secrets, calls=calls, shelf=shelf, thinking=delay_seconds)
    routes: list[BaseRoute] = [
        Route("/", _front),
        Route(DEPLOYMENT_PATH, Endpoint("deployment", service)),
        Route(V1_PATH, Endpoint("v1", service)),
        Route(IDENTITY_PATH, Endpoint("identity", service)),
        Route("/pictures/{name}.png", partial(_picture, shelf)),
        Route("/emulator/calls", partial(_calls, calls), methods=["GET", "DELETE"]),
    ]
    app = Starlette(routes=routes, exception_handlers={404: _not_found, 405: _not_found})
    app.router.redirect_slashes = False
    app.state.calls = calls
    return app


async def _front(_: Request) -> Response:
    return HTMLResponse(page())


async def _picture(shelf: Shelf, request: Request) -> Response:
    file = shelf.find(request.path_params["name"])
    return Response(file, media_type="image/png") if file else _response(resource_not_found())


async def _calls(calls: Calls, request: Request) -> Response:
    """List the record, of all deployments or of one; `DELETE` clears it."""
    if request.method == "DELETE":
        calls.clear()
        return Response(status_code=204)
    deployment = request.query_params.get("deployment")
    shown = list(calls) if deployment is None else calls.to(deployment)
    count = len(calls) if deployment is None else calls.count(deployment)
    return JSONResponse({"count": count, "open_now": calls.open_now, "calls": [call.shown() for call in shown]})


async def _not_found(_: Request, __: Exception) -> Response:
    return _response(resource_not_found())


def _response(answer: Answer) -> Response:
    headers = dict([*answer.headers, *answer_headers(answer.status)])
    return Response(answer.body, answer.status, headers)
