"""An ASGI application under test, really served: `serving(app)` yields its base URL.

The emulator needs `http=emulator.server.Protocol`; `emulator.server.running()` does that by itself.
"""

from emulator.loopback import serving

__all__ = ["serving"]
