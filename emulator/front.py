"""The page at `/`: what this is, how to call it, and all it can do wrong."""

import inspect
from html import escape

from emulator import faults, names
from emulator.families import FAMILIES

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Azure OpenAI emulator</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 3rem auto; padding: 0 1rem }}
pre {{ background: #f2f4f8; padding: 1rem; border-radius: .5rem; overflow: auto }}
code, td:first-child {{ font-family: ui-monospace, monospace; font-size: 90% }}
td {{ padding: .1rem 1.5rem .1rem 0 }}
</style>
<h1>Azure OpenAI emulator</h1>
<p>The image service of Azure OpenAI on this machine: real pictures and streams, every failure on request.</p>
<pre>curl HOST/openai/deployments/gpt-image-1/images/generations?api-version=2025-04-01-preview \\
  -H "api-key: KEY" -H "content-type: application/json" -d '{{"prompt": "A lighthouse at dusk"}}'</pre>
<p>Deployments: {models}. What was asked: <a href="emulator/calls">emulator/calls</a>.</p>
<h2>Faults</h2>
<pre>{grammar}</pre>
<p>{for_which}</p>
<table>
{rows}
</table>
</html>
"""


def page() -> str:
    """Make the page."""
    rows = (f"<tr><td>{escape(row.pattern)}<td>{row.calls}<td>{escape(row.says)}" for row in faults.FAULTS)
    return _PAGE.format(
        models=", ".join(f"<code>{name}</code>" for name in FAMILIES),
        grammar=escape(inspect.cleandoc(names.__doc__ or "")),
        for_which=escape(inspect.cleandoc(faults.__doc__ or "").partition("\n\n")[2]),
        rows="\n".join(rows),
    )


def listing() -> str:
    """Give the same about faults as plain text, for the command line."""
    rows = (f"{row.pattern:<28}{row.calls:<8}{row.says}" for row in faults.FAULTS)
    return "\n".join((inspect.cleandoc(names.__doc__ or ""), "", inspect.cleandoc(faults.__doc__ or ""), "", *rows))
