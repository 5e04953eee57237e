"""Text from elsewhere, made safe for a terminal."""

from __future__ import annotations

import re
from typing import Final

_UNSEEN: Final = "\N{REPLACEMENT CHARACTER}"
_JOINERS: Final = "\N{ZERO WIDTH JOINER}\N{ZERO WIDTH NON-JOINER}"
"""Not printable by themselves, but emoji and whole scripts need them."""
_SECRETS: Final = re.compile(r"sk-bf-[A-Za-z0-9_-]+|eyJ[A-Za-z0-9_-]*\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")
"""Virtual keys, and JWTs: a JSON object in base64url, then two more parts (RFC 7519)."""


def plain(text: str) -> str:
    """Replace what is not printable: control characters and escapes, which could steer the terminal, and such."""
    return "".join(one if one.isprintable() or one in _JOINERS else _UNSEEN for one in text)


def without_secrets(text: str) -> str:
    """Strike out what looks like a key or token: errors are kept and passed on."""
    return _SECRETS.sub("…", text)
