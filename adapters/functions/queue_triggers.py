"""The Functions adapter of queues: messages in, nothing out. Registered only where there is storage.

A message that fails is delivered again, five times in all, and then set aside in the queue's `-poison` (Azure Functions
docs, "Azure Queue storage trigger"). Here that one has a function, too, so that what was asked for has an end; one
without a further queue is delivered until it succeeds.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Final

import azure.functions as func

from core.jobs.job import ID
from core.jobs.runner import POISON_DELIVERY
from core.jobs.store import QUEUE as JOBS

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.jobs.queue_requests import QueueConsumer
    from core.jobs.runner import JobRunner

STORAGE: Final = "AzureWebJobsStorage"
REQUESTS: Final = "image-requests"
SET_ASIDE: Final = "-poison"


def queue_functions(runner: Callable[[], JobRunner], consumer: Callable[[], QueueConsumer]) -> func.Blueprint:
    """The functions, over a runner and a consumer that are asked for when a message comes."""
    functions = func.Blueprint()  # type: ignore[no-untyped-call]

    @functions.function_name("run_job")
    @functions.queue_trigger(arg_name="message", queue_name=JOBS, connection=STORAGE)
    async def run_job(message: func.QueueMessage) -> None:
        """Carry out a job."""
        await runner().run(text_of(message), message.dequeue_count or 1)

    @functions.function_name("end_job")
    @functions.queue_trigger(arg_name="message", queue_name=JOBS + SET_ASIDE, connection=STORAGE)
    async def end_job(message: func.QueueMessage) -> None:
        """End a job whose message was tried too often: it has failed."""
        await runner().run(text_of(message), POISON_DELIVERY)

    @functions.function_name("take_request")
    @functions.queue_trigger(arg_name="message", queue_name=REQUESTS, connection=STORAGE)
    async def take_request(message: func.QueueMessage) -> None:
        """Draw what a message asks for."""
        await consumer().consume(text_of(message), message.id or "", message.dequeue_count or 1)

    @functions.function_name("end_request")
    @functions.queue_trigger(arg_name="message", queue_name=REQUESTS + SET_ASIDE, connection=STORAGE)
    async def end_request(message: func.QueueMessage) -> None:
        """End what a message asked for that was tried too often: it has failed."""
        await consumer().consume(text_of(message), message.id or "", POISON_DELIVERY)

    return functions


def text_of(message: func.QueueMessage) -> str:
    """The text of a message, whose body may be that text or base64 of it.

    Base64 may be wrapped into lines, as .NET's decoder takes it; a byte order mark before either is skipped. host.json
    has the host hand the body on as it is (`messageEncoding`): one that is no base64 it would set aside unseen.
    """
    text = message.get_body().decode("utf-8-sig", errors="replace").strip()
    if ID.fullmatch(text):  # which could be read as base64, too
        return text
    try:
        return base64.b64decode("".join(text.split()), validate=True).decode("utf-8-sig")
    except (binascii.Error, ValueError):
        return text
