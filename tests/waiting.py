"""How long tests wait for what must come."""

from __future__ import annotations

from typing import Final

HANGS_SECONDS: Final = 60.0
"""What has not come after so many seconds hangs. Nothing here takes nearly as long, not even where the machine stands
still for some seconds, as virtual ones do."""
