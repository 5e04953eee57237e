"""One small function for each thing that the tests ask of the worker."""

import asyncio
import contextvars

import azure.functions as func
from starlette.responses import JSONResponse, StreamingResponse

from adapters.functions.web_extension import Request, Response

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)

steps: asyncio.Queue[str] = asyncio.Queue()  # what `push` hands to a stream that waits
seen: asyncio.Queue[str] = asyncio.Queue()  # what `pop` tells of what functions have seen
together = asyncio.Barrier(20)
messages: list[str] = []
tasks: set[asyncio.Task[None]] = set()
colour = contextvars.ContextVar("colour", default="none")


def route(path: str, *methods: str):
    return app.route(path, methods=methods or None, trigger_arg_name="request")


@route("echo/{name}/{number:int?}", "POST", "PUT")
async def echo(request: Request) -> Response:
    return JSONResponse(
        {
            "method": request.method,
            "path": request.path_params,
            "query": dict(request.query_params),
            "header": request.headers.get("x-colour"),
            "body": (await request.body()).decode(),
        },
        status_code=201,
        headers={"x-colour": "green"},
    )


@route("push/{word}")
async def push(request: Request) -> Response:
    steps.put_nowait(request.path_params["word"])
    return Response()


@route("pop")
async def pop(request: Request) -> Response:
    return Response(await seen.get())


@route("stream")
async def stream(request: Request) -> StreamingResponse:
    async def events():
        try:
            while (word := await steps.get()) != "end":
                yield f"data: {word}\n\n"
        except BaseException as error:
            seen.put_nowait(type(error).__name__)
            raise

    return StreamingResponse(events(), media_type="text/event-stream")


@route("flood")
async def flood(request: Request) -> StreamingResponse:
    async def bytes_without_end():
        try:
            while True:
                yield b"x" * 100_000
                await asyncio.sleep(0)  # a generator that never waits would keep the loop to itself
        except BaseException as error:
            seen.put_nowait(type(error).__name__)
            raise

    return StreamingResponse(bytes_without_end())


@route("cleans-up")
async def cleans_up(request: Request) -> StreamingResponse:
    async def clean_up():
        await asyncio.sleep(0)
        seen.put_nowait("cleaned up")

    async def events():
        try:
            yield "begun"
            await asyncio.Event().wait()
        finally:
            tasks.add(asyncio.create_task(clean_up()))
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                seen.put_nowait("cancelled again")
                raise

    return StreamingResponse(events())


@route("slow", "POST")
async def slow(request: Request) -> Response:
    await request.body()
    seen.put_nowait(f"disconnected: {await request.is_disconnected()}")
    message = await request.receive()
    seen.put_nowait(f"{message['type']}, disconnected: {await request.is_disconnected()}")
    return Response("nobody reads this")


@route("fails")
async def fails(request: Request) -> Response:
    raise LookupError("no such luck")


@route("cut")
async def cut(request: Request) -> Response:
    async def events():
        yield "one"
        raise LookupError("no such luck")

    return StreamingResponse(events())


@route("context")
async def context(request: Request) -> Response:
    colour.set("red")

    async def events():
        yield colour.get()

    return StreamingResponse(events())


@route("nothing")
async def nothing(request: Request) -> Response:
    return None


@route("barrier/{number}")
async def barrier(request: Request) -> Response:
    await together.wait()
    return Response(f"{request.path_params['number']} {request.headers['x-number']}")


@route("sync/{name}")
def sync(request: Request) -> Response:
    return Response(f"sync {request.path_params['name']}")


@app.queue_trigger(arg_name="message", queue_name="poison", connection="AzureWebJobsStorage")
async def take(message: func.QueueMessage) -> None:
    messages.append(message.get_body().decode())


@route("messages")
async def taken(request: Request) -> Response:
    return JSONResponse(messages)


@route("{*path}")
async def zz_anything_else(request: Request) -> Response:
    return Response(f"caught {request.path_params.get('path', '')}", status_code=404)
