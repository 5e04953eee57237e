"""An app's functions, as the host sees them: a name, what triggers it, and how to call it."""

from __future__ import annotations

import asyncio
import inspect
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from localhost.settings import StartError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Mapping


@dataclass(frozen=True, kw_only=True)
class Function:
    """A function of the app."""

    name: str
    bindings: tuple[Mapping[str, Any], ...]
    user_function: Callable[..., Any]

    def trigger(self, kind: str) -> Mapping[str, Any] | None:
        """Return its trigger, if it is of this kind (`httpTrigger`, `queueTrigger`)."""
        return next((binding for binding in self.bindings if binding["type"] == kind), None)

    def caller(self, parameter: str, hint: str) -> Callable[[Any], Coroutine[Any, Any, Any]]:
        """Return how to call it with what its trigger gives, in a thread if it is not async.

        Raises StartError, with a hint at its end, if the function takes something else.
        """
        taken = set(inspect.signature(self.user_function).parameters)
        if taken != {parameter}:
            given = ", ".join(sorted(taken)) or "none"
            raise StartError(
                f"function {self.name} has the parameter {given}, but its trigger gives {parameter!r} {hint}"
            )
        function = self.user_function
        if inspect.iscoroutinefunction(function):
            return lambda argument: function(**{parameter: argument})
        return lambda argument: asyncio.to_thread(function, **{parameter: argument})


def functions_of(app: Any) -> Iterator[Function]:
    """Go through the functions of a FunctionApp."""
    for function in app.get_functions():
        yield Function(
            name=function.get_function_name(),
            bindings=tuple(json.loads(binding) for binding in function.get_raw_bindings()),
            user_function=function.get_user_function(),
        )


def is_being_cancelled() -> bool:
    """Whether the task that runs was cancelled: a CancelledError that nobody asked for is the function's own."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
