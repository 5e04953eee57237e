"""The headers that say which deployment answered, and after what (contract §4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.catalogue.fitting import Fitted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from core.catalogue.plan import Step
    from core.generation import Trail


def answer_headers(step: Step, trail: Trail, relayed: Mapping[str, str]) -> dict[str, str]:
    """The headers of an answer that came from, or failed at, a step of the plan."""
    headers = {
        **relayed,
        "x-gateway-deployment": step.deployment.name,
        "x-gateway-fallback-index": str(step.fallback_index),
        "x-gateway-attempts": str(trail.calls),
    }
    if isinstance(step.fitted, Fitted) and step.fitted.dropped:
        headers["x-gateway-dropped-params"] = ", ".join(step.fitted.dropped)
    return headers
