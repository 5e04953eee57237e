"""Which function is started by which queue, and where that is."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import azure.functions as func
import pytest

from localhost.azurite import WELL_KNOWN
from localhost.functions import functions_of
from localhost.queue_triggers import QueueFunction, connection_string
from localhost.settings import StartError

if TYPE_CHECKING:
    from collections.abc import Callable


def queued(
    queue: str = "orders", connection: str = "Store", *, take: Callable[..., object] | None = None, **options: object
) -> QueueFunction:
    """The function of an app that has one queue trigger."""
    app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)

    async def take_it(order: func.QueueMessage) -> None:
        given.append(order)

    given: list[object] = []
    app.queue_trigger(arg_name="order", queue_name=queue, connection=connection, **options)(take or take_it)
    (function,) = functions_of(app)
    found = QueueFunction.of(function)
    assert found is not None
    return found


def test_a_trigger() -> None:
    """All that a trigger says is read."""
    function = queued(data_type=func.DataType.BINARY)
    assert ("take_it", "orders", "Store", True) == (
        function.name,
        function.queue,
        function.connection,
        function.is_binary,
    )
    assert not queued().is_binary


async def test_a_function_that_is_not_async() -> None:
    """It is called in a thread, so that it holds up nothing."""
    threads = []
    await queued(take=lambda order: threads.append((order, threading.current_thread()))).call("a message")  # type: ignore[arg-type]
    ((given, thread),) = threads
    assert ("a message", False) == (given, thread is threading.main_thread())


def test_another_trigger() -> None:
    """What is not started by a queue is none of these."""
    app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
    app.timer_trigger(arg_name="timer", schedule="0 0 3 * * *")(lambda timer: None)
    (function,) = functions_of(app)
    assert QueueFunction.of(function) is None


def test_a_parameter_too_many() -> None:
    """A function that takes more than its message is not served here, and that is said at the start."""
    with pytest.raises(StartError, match=r"^function \S+ has the parameter context, order, but its trigger gives"):
        queued(take=lambda order, context: None)


@pytest.mark.parametrize("name", ["q", "JobsApi", "%ORDERS%", "a--b", "a-", "-a", "a" * 64, "orders\n"])
def test_no_name_of_a_queue(name: str) -> None:
    """A name that Azure Storage does not take is told at the start."""
    with pytest.raises(StartError, match="is no name of a queue"):
        queued(name)


@pytest.mark.parametrize(
    ("queue", "expected"),
    [
        ("orders", "orders-poison"),
        ("a" * 56, "a" * 56 + "-poison"),
        ("a" * 57, None),
        ("orders-poison", None),
    ],
)
def test_poison(queue: str, expected: str | None) -> None:
    """The poison queue is named after the queue; a poison queue, and one with too long a name, has none."""
    assert expected == queued(queue).poison


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"Store": "AccountName=a"}, "AccountName=a"),
        ({"Store": "AccountName=a", "AzureWebJobsStore": "AccountName=b"}, "AccountName=b"),
        ({"Store": "AccountName=a", "Store__accountName": "b"}, "AccountName=a"),
        ({"Store": "UseDevelopmentStorage=true"}, WELL_KNOWN),
        ({"Store": "usedevelopmentstorage=True;"}, WELL_KNOWN),
        ({"Store": "", "Store__queueServiceUri": "https://a"}, None),
    ],
)
def test_where_a_queue_is(environment: dict[str, str], expected: str | None) -> None:
    """The setting that the trigger names says it, with AzureWebJobs before its name first; None: an identity only."""
    assert expected == connection_string(queued(), environment)


def test_no_connection_named() -> None:
    """A trigger that names no setting means AzureWebJobsStorage."""
    assert "x" == connection_string(queued(connection=""), {"AzureWebJobsStorage": "x"})


@pytest.mark.parametrize("environment", [{}, {"Store": ""}])
def test_a_setting_that_is_missing(environment: dict[str, str]) -> None:
    """That is told with the function, the queue and the cure."""
    with pytest.raises(StartError) as raised:
        connection_string(queued(), environment)
    assert str(raised.value) == (
        "function take_it is started by queue orders, and Store does not say where that is; "
        "set it to a connection string, such as UseDevelopmentStorage=true"
    )
