"""The page at `/`: what this is, how to call it, and every fault."""

import inspect
from html import escape

from emulator import deployment_names, faults
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
<p>Deployments: {models}. All calls: <a href="emulator/calls">emulator/calls</a>.</p>
<h2>Faults</h2>
<pre>{grammar}</pre>
<p>{which_calls}</p>
<table>
{rows}
</table>
</html>
"""


def make_page() -> str:
    """Make the page in HTML."""
    rows = (f"<tr><td>{escape(row.pattern)}<td>{row.calls}<td>{escape(row.description)}" for row in faults.FAULTS)
    return _PAGE.format(
        models=", ".join(f"<code>{name}</code>" for name in FAMILIES),
        grammar=escape(inspect.cleandoc(deployment_names.__doc__ or "")),
        which_calls=escape(inspect.cleandoc(faults.__doc__ or "").partition("\n\n")[2]),
        rows="\n".join(rows),
    )


def list_faults() -> str:
    """Describe all faults in plain text, for the command line."""
    rows = (f"{row.pattern:<28}{row.calls:<8}{row.description}" for row in faults.FAULTS)
    return "\n".join(
        (inspect.cleandoc(deployment_names.__doc__ or ""), "", inspect.cleandoc(faults.__doc__ or ""), "", *rows)
    )
