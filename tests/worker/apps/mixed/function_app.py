"""Two kinds of request in one app, which the worker does not take."""

import azure.functions as func

from adapters.functions.web_extension import Request, Response

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)


@app.route("streams", trigger_arg_name="request")
async def streams(request: Request) -> Response:
    return Response()


@app.route("buffers", trigger_arg_name="request")
async def buffers(request: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse()
