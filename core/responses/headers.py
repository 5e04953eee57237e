"""The headers that say which deployment answered and after what (contract §4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from core.deployments.route_plan import PlanStep
    from core.routing.attempt_log import AttemptSummary


DROPPED: Final = "x-gateway-dropped-params"
MAPPED: Final = "x-gateway-mapped-params"


def answer_headers(step: PlanStep, summary: AttemptSummary, relayed: Mapping[str, str]) -> dict[str, str]:
    """The headers of an answer that came from, or failed at, a step of the plan."""
    headers = {
        **relayed,
        "x-gateway-deployment": step.deployment.name,
        "x-gateway-fallback-index": str(step.fallback_index),
        "x-gateway-attempts": str(summary.calls),
    }
    for name, params in ((DROPPED, step.body.dropped), (MAPPED, step.body.mapped)):
        if params:
            headers[name] = ", ".join([*params, *([relayed[name]] if name in relayed else [])])
    return headers


def cost_headers(cost_usd: float | None) -> dict[str, str]:
    """What a call cost in US dollars, as a decimal number; None: that is not known."""
    return {} if cost_usd is None else {"x-gateway-cost-usd": f"{cost_usd:.9f}".rstrip("0").removesuffix(".")}
