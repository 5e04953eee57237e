"""What is said of a job whose process died while it drew."""

from __future__ import annotations

from core.contract.errors import GatewayError


class JobLost(GatewayError):
    """409: nobody knows what came of it; it is not drawn again by itself."""

    status = 409
    type = "conflict_error"
    code = "outcome_unknown"
    retry_safe = False

    def __init__(self) -> None:
        super().__init__("The process that carried this job out ended; a picture may have been drawn, and is lost")
