"""The smallest app: what every Python app on Azure Functions pays before it has a line of its own."""

import azure.functions as func

app = func.FunctionApp()


@app.route("nothing")
def nothing(req: func.HttpRequest) -> str:  # noqa: ARG001 -- the worker indexes no HTTP function without it
    """Say nothing."""
    return ""
