"""The application: its paths, and what stands behind each.

Facts: Azure OpenAI docs, REST reference: the deployment path with its dated `api-version`, and the v1 path
with the deployment's name in the body's `model`.
"""

from functools import partial

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Route

from emulator.access import Credentials, response_headers
from emulator.calls import Calls
from emulator.endpoint import Endpoint, Service
from emulator.errors import HttpResponse, resource_not_found
from emulator.home_page import make_page
from emulator.pictures import PictureStore

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

    `delay_seconds` is how long a picture takes, its partial images included. `app.state.calls` is the record of all
    calls.
    """
    credentials = Credentials(api_key=api_key, entra_token=entra_token, identity_header=identity_header)
    calls, store = Calls(), PictureStore()
    service = Service(credentials=credentials, calls=calls, store=store, picture_seconds=delay_seconds)
    routes: list[BaseRoute] = [
        Route("/", _home),
        Route(DEPLOYMENT_PATH, Endpoint("deployment", service)),
        Route(V1_PATH, Endpoint("v1", service)),
        Route(IDENTITY_PATH, Endpoint("identity", service)),
        Route("/pictures/{name}.png", partial(_picture, store)),
        Route("/emulator/calls", partial(_calls, calls), methods=["GET", "DELETE"]),
    ]
    app = Starlette(routes=routes, exception_handlers={404: _not_found, 405: _not_found})
    app.router.redirect_slashes = False
    app.state.calls = calls
    return app


async def _home(_: Request) -> Response:
    return HTMLResponse(make_page())


async def _picture(store: PictureStore, request: Request) -> Response:
    file = store.get(request.path_params["name"])
    return Response(file, media_type="image/png") if file else _response(resource_not_found())


async def _calls(calls: Calls, request: Request) -> Response:
    """List the calls to all deployments or to one; `DELETE` forgets them."""
    if request.method == "DELETE":
        calls.clear()
        return Response(status_code=204)
    deployment = request.query_params.get("deployment")
    listed = list(calls) if deployment is None else calls.to(deployment)
    count = len(calls) if deployment is None else calls.count(deployment)
    return JSONResponse({"count": count, "open_now": calls.open_now, "calls": [call.to_json() for call in listed]})


async def _not_found(_: Request, __: Exception) -> Response:
    return _response(resource_not_found())


def _response(error: HttpResponse) -> Response:
    headers = dict([*error.headers, *response_headers(error.status)])
    return Response(error.body, error.status, headers)
