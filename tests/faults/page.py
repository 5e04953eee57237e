"""Makes docs/faults.md of the table: `python -m tests.faults.page`."""

from __future__ import annotations

from pathlib import Path

from tests.faults.table import ROWS, Row

PAGE = Path(__file__).parent.parent.parent / "docs" / "faults.md"

HEAD = """\
# What happens when

Made from `tests/faults/table.py`, whose rows the tests run against the emulator: `python -m tests.faults.page`.

A caller without a fallback sees what stands in the columns *JSON* and *stream*. The stream's caller asked for one
partial image; once it was shown, an error can only be an event. ⛔ is `x-should-retry: false`: the picture may have
been drawn and billed, and the official SDKs do not ask again by themselves. *Calls* is how often the same target is
asked (`GATEWAY_MAX_RETRIES` = 2); with a fallback that is listed, *falls back* says whether it draws, and after how
many calls.

| Azure OpenAI does | JSON | stream | calls | falls back |
|---|---|---|---|---|
"""

TAIL = """
Beyond one call:

- A target that throttles is left alone for the stated wait, at most ten minutes; one that cannot be reached three times
  in a row for 30 s; one that refuses the gateway's key for 60 s; one whose resource is blocked, or whose account has no
  quota left, for five minutes. The last three write one error with the target's name to the log.
- What one caller alone can bring about (a time-out, a 5xx, an answer without a picture) counts for that caller's key:
  five in a row leave the target alone for this key for 30 s. For everybody it is left alone when two keys have failed
  with no answer between. Then one call of each of two keys tries it.
- Meanwhile its deployment's other targets draw, or the fallbacks; where nothing is left, the caller sees the cause with
  the shortest wait as `Retry-After`.
- A target that cannot be reached was surely not asked: 502 `upstream_unreachable`.
- When `GATEWAY_DEADLINE_SECONDS` are over: 504 `upstream_timeout` ⛔, or an `error` event. Where nothing had been sent
  by then, 502 `upstream_unreachable`, or what the target had said before. No fallback or retry begins in the last
  second: what it draws would be billed, and nobody would get it.
- All calls of an instance share 256 connections. A call that has had none for `GATEWAY_CONNECT_SECONDS` is 503
  `gateway_busy` with `retry-after`. This, like a call whose time was over before it was sent, is laid at no target's
  door.
- When the caller leaves a call that has been sent, the generation goes on for `GATEWAY_LINGER_SECONDS` (15), so that an
  identical request gets its picture, or waits for it; one that was not sent ends at once. At most 32 generations and
  128 MiB of pictures wait so in an instance, the oldest go first. Then the connection to Azure OpenAI is freed, and the
  call counts as perhaps billed.
- An error marked ⛔ is the answer to identical requests for `GATEWAY_REPEAT_SECONDS` (90; each request begins the time
  anew, for five minutes at most): `x-gateway-repeated: true`, and upstream is not asked, because most clients ask again
  by themselves. The same goes for a generation that was ended because nobody came back (504 `upstream_timeout`).
  *Identical*: same key, deployment, api-version and body; calls with an `Idempotency-Key` and jobs are left out.
  `Idempotency-Retry: accept-duplicate` asks for another picture at once. With storage this holds across instances: a
  repeat of what another instance still draws is 409 `generation_in_progress`. With the store out of reach calls go on
  without.
- More calls of one key at once than `GATEWAY_KEY_CALLS` (128) are 429 `key_busy`.
- When `make serve` is told to end, open calls have ten seconds; then 503 `stopping`, or an `error` event. In Azure the
  platform stops sending calls to an instance before it ends it, and waits for those that are open.
- A caller who stops reading its stream does not hold Azure OpenAI beyond the deadline and a second.
"""


def page() -> str:
    """The page as Markdown."""
    return HEAD + "".join(_line(row) for row in ROWS) + TAIL


def _line(row: Row) -> str:
    if row.json.code == "picture":
        falls_back = "-"
    elif row.falls_back:
        calls = row.calls_before_fallback or row.calls
        falls_back = f"yes, after {calls}"
    else:
        falls_back = "no"
    return f"| {row.does} | {row.json} | {row.stream or row.json} | {row.calls} | {falls_back} |\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
