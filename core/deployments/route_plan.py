"""Rule 1 of the house: the deployments of a call are resolved once, into a plan.

What is authorised, counted, logged and called is what stands in the plan, and nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from core.deployments.parameters import map_parameters
from core.domain.errors import Forbidden, InvalidRequest, NotFound

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.deployments.catalogue import Catalogue, Deployment
    from core.deployments.parameters import UpstreamBody
    from core.domain.request import ImageRequest


class PlanStep(Struct, frozen=True, kw_only=True):
    """A deployment that can be asked."""

    fallback_index: int
    """0: the deployment in the path; 1 …: its place in `fallbacks`."""
    deployment: Deployment
    body: UpstreamBody
    """What its targets are sent."""

    @property
    def param(self) -> str | None:
        """Where the caller named it in the body; None: it is the deployment in the path."""
        return _param(self.fallback_index) if self.fallback_index else None


class SkippedStep(Struct, frozen=True, kw_only=True):
    """A fallback whose family cannot honour the request."""

    fallback_index: int
    deployment: Deployment
    reason: InvalidRequest


class RoutePlan(Struct, frozen=True, kw_only=True):
    """Where a call may go, in order."""

    steps: tuple[PlanStep, ...]
    """What can be asked; the deployment in the path is the first."""
    skipped: tuple[SkippedStep, ...] = ()
    """The fallbacks that cannot."""


def make_plan(catalogue: Catalogue, request: ImageRequest, name: str, may_call: Callable[[str], bool]) -> RoutePlan:
    """Resolve the deployments of a call, in the contract's order of checks.

    Raises Forbidden for a name that is not allowed, existing or not; NotFound or InvalidRequest for one
    that does not exist; InvalidRequest where the first deployment's family cannot honour the request.
    A fallback that is named twice, or is the deployment in the path, counts once.
    """
    names = [name, *request.fallback_names]
    for index, each in enumerate(names):
        if not may_call(each):
            raise Forbidden(f"This key may not call the deployment {each}", param=_param(index) if index else None)
    found: dict[str, tuple[int, Deployment]] = {}
    for index, each in enumerate(names):
        deployment = catalogue.find(each)
        if deployment is None:
            raise _unknown(each, index)
        found.setdefault(each, (index, deployment))
    steps: list[PlanStep] = []
    skipped: list[SkippedStep] = []
    for index, deployment in found.values():
        try:
            body = map_parameters(request, deployment.family)
        except InvalidRequest as reason:
            if index == 0:
                raise
            skipped.append(SkippedStep(fallback_index=index, deployment=deployment, reason=reason))
        else:
            steps.append(PlanStep(fallback_index=index, deployment=deployment, body=body))
    return RoutePlan(steps=tuple(steps), skipped=tuple(skipped))


def _param(index: int) -> str:
    return f"fallbacks[{index - 1}]"


def _unknown(name: str, index: int) -> NotFound | InvalidRequest:
    message = f"There is no deployment {name}"
    if index == 0:
        return NotFound(message, code="deployment_not_found")
    return InvalidRequest(message, code="deployment_not_found", param=_param(index))
