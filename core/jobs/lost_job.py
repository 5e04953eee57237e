"""What is said of a job that nobody carries out any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.domain.errors import CallerError, GatewayFault

if TYPE_CHECKING:
    from core.domain.errors import GatewayError


class JobLost(CallerError):
    """409: whoever carried it out died after asking. Nobody knows what came of it; it is not drawn again by itself."""

    status = 409
    type = "conflict_error"
    code = "outcome_unknown"
    retry_safe = False

    def __init__(self) -> None:
        super().__init__("The process that carried this job out ended; a picture may have been drawn, and is lost")


class JobAbandoned(GatewayFault):
    """500: it was begun as often as it may be, and the model was never asked."""

    code = "job_abandoned"

    def __init__(self) -> None:
        super().__init__("The gateway failed to carry this job out; nothing was drawn, and it can be ordered again")


def fate(*, asked: bool) -> GatewayError:
    """Why such a job has failed; `asked`: whether the model was asked, or was about to be."""
    return JobLost() if asked else JobAbandoned()
