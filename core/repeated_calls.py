"""Calls that were made before: under the caller's idempotency key, or blindly, as clients retry what they lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.idempotency.key import accepts_duplicate, make_repeat_key, read_idempotency_key
from core.idempotency.repeats import Left
from core.idempotency.replay import release, replay, store_response
from core.idempotency.store import IdempotencyClaim
from core.tasks import uninterrupted

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from core.call import CallContext
    from core.domain.response import HttpResponse
    from core.generation_task import GenerationTask
    from core.idempotency.repeats import RepeatKey, Repeats
    from core.idempotency.store import IdempotencyStore, StoredResponse
    from core.responses.response_builder import ResponseBuilder
    from core.routing.executor import End


class RepeatedCalls:
    """Gives repeats what came of the first call."""

    def __init__(
        self,
        idempotency: IdempotencyStore,
        repeats: Repeats[GenerationTask],
        *,
        wait: Callable[[float], Awaitable[None]],
    ) -> None:
        """`wait` lets seconds go by."""
        self._idempotency = idempotency
        self._repeats = repeats
        self._wait = wait

    # -- with an idempotency key --

    async def claim(
        self, call: CallContext, headers: Sequence[tuple[str, str]], *, later: bool
    ) -> IdempotencyClaim | HttpResponse | None:
        """Claim the idempotency key of a resolved call; or give the response that is stored under it.

        None: it sent no key. Raises CallerError where the key is another request's, in use, or of unknown outcome.
        """
        key = read_idempotency_key(
            headers,
            call.known_caller,
            call.known_request,
            deployment=call.deployment,
            api_version=call.api_version,
            later=later,
        )
        if key is None:
            return None

        async def give_back(claim: IdempotencyClaim | StoredResponse) -> None:
            if isinstance(claim, IdempotencyClaim):
                await release(claim, event_id=call.event_id)

        accept_duplicate = accepts_duplicate(headers)
        claim = await uninterrupted(
            self._idempotency.claim(key, event_id=call.event_id, accept_duplicate=accept_duplicate), undo=give_back
        )
        if isinstance(claim, IdempotencyClaim):
            return claim
        call.outcome = "replayed"
        return replay(claim)

    def storing(self, claim: IdempotencyClaim, builder: ResponseBuilder) -> Callable[[End], Awaitable[None]]:
        """Give what stores the response to the end of a generation under its key."""

        async def store(end: End) -> None:
            await store_response(claim, await builder.build(end), event_id=builder.call.event_id, wait=self._wait)

        return store

    # -- without one (contract §5, "What may have been paid for is not paid twice") --

    async def pick_up(self, call: CallContext, headers: Sequence[tuple[str, str]]) -> GenerationTask | None:
        """Give the generation that a repeat takes part in; None: it is no repeat.

        Raises UpstreamFailure, the error that a repeat gets again, or GenerationInProgress.
        """
        if self._repeats.is_off:
            return None
        key = call.repeat_key = make_repeat_key(
            call.known_caller, call.known_request, deployment=call.deployment, api_version=call.api_version
        )
        call.on_billed_error = lambda error: self._repeats.note(key, error)
        if accepts_duplicate(headers):
            await self._repeats.forget(key)
            return None
        task = await self._repeats.find(key)
        if task is not None:
            call.share(task.call)
        return task

    def lingering(self, call: CallContext) -> _Lingering | None:
        """Give the place where the generation of a call goes on once its caller has left; None: nowhere."""
        return None if call.repeat_key is None else _Lingering(self._repeats, call.repeat_key)

    async def flush(self, call: CallContext) -> None:
        """Wait, for a bounded time, until what repeats of a failed call get is stored."""
        if call.repeat_key is not None:
            await self._repeats.flush(call.repeat_key)


class _Lingering:
    """Where the generation of one request goes on once its caller has left."""

    def __init__(self, repeats: Repeats[GenerationTask], key: RepeatKey) -> None:
        self._repeats = repeats
        self._key = key

    def add(self, task: GenerationTask) -> float:
        return self._repeats.add(self._key, task)

    def trim(self) -> None:
        self._repeats.trim()

    async def remove(self, task: GenerationTask, *, picked_up: bool) -> None:
        is_free = picked_up or task.call.log.summary.costs_nothing
        self._repeats.remove(self._key, task, None if is_free else Left())
        await self._repeats.flush(self._key)
