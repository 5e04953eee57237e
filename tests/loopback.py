"""An ASGI application under test, really served: `serving(app)` yields its base URL.

The emulator needs `http=emulator.server.Protocol`; `emulator.server.running()` does that by itself.
"""

from __future__ import annotations

import ssl
from typing import Final

from emulator.loopback import serving

__all__ = ["NO_CERTIFICATES", "serving"]

NO_CERTIFICATES: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""The `verify` of clients that ask without TLS: reading the machine's certificates takes longer than most tests."""
