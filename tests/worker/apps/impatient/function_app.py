"""The web extension waits hardly at all for an invocation."""

import asyncio

import azure.functions as func

from adapters.functions import web_extension
from adapters.functions.web_extension import Request, Response

web_extension.UNCLAIMED_SECONDS = 0.05
app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)


@app.route("takes-longer", trigger_arg_name="request")
async def takes_longer(request: Request) -> Response:
    await asyncio.sleep(0.2)
    return Response("done")
