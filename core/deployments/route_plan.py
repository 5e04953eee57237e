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
    """0: the deployment that was asked for; 1 …: its place in `fallbacks`."""
    deployment: Deployment
    body: UpstreamBody
    """What its targets are sent."""
    param: str | None = None
    """Where the caller named it in the body; None: in the path."""


class SkippedStep(Struct, frozen=True, kw_only=True):
    """A fallback whose family cannot honour the request."""

    fallback_index: int
    deployment: Deployment
    reason: InvalidRequest


class RoutePlan(Struct, frozen=True, kw_only=True):
    """Where a call may go, in order."""

    steps: tuple[PlanStep, ...]
    """What can be asked; the deployment that was asked for is the first."""
    skipped: tuple[SkippedStep, ...] = ()
    """The fallbacks that cannot."""


def make_plan(
    catalogue: Catalogue,
    request: ImageRequest,
    name: str,
    may_call: Callable[[str], bool],
    *,
    param: str | None = None,
    api_version: str | None = None,
) -> RoutePlan:
    """Resolve the deployments of a call, in the contract's order of checks.

    `name` is the deployment that was asked for; `param` is where in the body, None: in the path. `api_version` is the
    dated one that the caller asked for.

    Raises Forbidden for a name that is not allowed, existing or not; NotFound or InvalidRequest for one
    that does not exist; InvalidRequest where the first deployment's family cannot honour the request.
    A fallback that is named twice, or is the deployment that was asked for, counts once.
    """
    names = [name, *request.fallback_names]
    params = [param, *(f"fallbacks[{index}]" for index in range(len(names) - 1))]
    for each, where in zip(names, params, strict=True):
        if not may_call(each):
            raise Forbidden(f"This key may not call the deployment {each}", param=where)
    found: dict[str, tuple[int, Deployment]] = {}
    for index, each in enumerate(names):
        deployment = catalogue.find(each)
        if deployment is None:
            kind = InvalidRequest if index else NotFound
            raise kind(f"There is no deployment {each}", code="deployment_not_found", param=params[index])
        found.setdefault(each, (index, deployment))
    steps: list[PlanStep] = []
    skipped: list[SkippedStep] = []
    for index, deployment in found.values():
        try:
            body = map_parameters(request, deployment.family, deployment.overrides, api_version=api_version)
        except InvalidRequest as reason:
            if index == 0:
                raise
            skipped.append(SkippedStep(fallback_index=index, deployment=deployment, reason=reason))
        else:
            steps.append(PlanStep(fallback_index=index, deployment=deployment, body=body, param=params[index]))
    return RoutePlan(steps=tuple(steps), skipped=tuple(skipped))
