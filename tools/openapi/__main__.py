"""Write `openapi.json`, which the app serves as it is: `make openapi`."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import orjson

from tools.openapi.document import description

FILE: Final = Path(__file__).parent.parent.parent / "openapi.json"


def build() -> bytes:
    """The file's content."""
    return orjson.dumps(description(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


if __name__ == "__main__":
    FILE.write_bytes(build())
