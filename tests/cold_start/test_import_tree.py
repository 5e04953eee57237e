"""Reading what `python -X importtime` reports."""

from __future__ import annotations

import subprocess
import sys

import pytest

from bench.import_tree import PYTHON, Module, by_package, lines_of, package_of, parsed

REPORT = """\
import time: self [us] | cumulative | imported package
import time:       100 |        100 |     core.domain
a line of the app's own
import time:       900 |       1000 |   core.errors
import time:       300 |        300 |   orjson
import time:      2000 |       3300 | core.gateway
import time:       400 |        400 | json
"""
GATEWAY = Module(
    name="core.gateway",
    self_us=2000,
    total_us=3300,
    imported=(
        Module(
            name="core.errors",
            self_us=900,
            total_us=1000,
            imported=(Module(name="core.domain", self_us=100, total_us=100),),
        ),
        Module(name="orjson", self_us=300, total_us=300),
    ),
)
JSON = Module(name="json", self_us=400, total_us=400)


def test_tree() -> None:
    """A module stands below the one that imported it first; other lines are passed over."""
    assert [GATEWAY, JSON] == parsed(REPORT)


def test_nothing() -> None:
    """A report without a module is an empty tree."""
    assert [] == parsed("")


def test_what_python_reports() -> None:
    """This very Python's report is understood."""
    done = subprocess.run([sys.executable, "-X", "importtime", "-c", "import json"], capture_output=True, check=True)
    names = [module.name for root in parsed(done.stderr.decode()) for module in root.all()]
    assert {"json", "json.decoder"} <= set(names)


def test_by_package() -> None:
    """Each package has the time of its modules without what they import, the dearest first."""
    assert [("core", 3000, 3), (PYTHON, 400, 1), ("orjson", 300, 1)] == by_package([GATEWAY, JSON])


@pytest.mark.parametrize(
    ("name", "package"),
    [
        ("core.gateway", "core"),
        ("azure.functions.decorators", "azure.functions"),
        ("azure", "azure"),
        ("azure_functions_runtime.loader", "azure_functions_runtime"),
        ("email.parser", PYTHON),
        ("_decimal", PYTHON),
    ],
)
def test_package(name: str, package: str) -> None:
    """Python's own modules are one package, those under `azure` are several."""
    assert package == package_of(name)


def test_lines() -> None:
    """The dearest stands first, and what costs too little is left out with all below it."""
    assert [
        "     3.3     2.0  core.gateway",
        "     1.0     0.9    core.errors",
        "     0.4     0.4  json",
    ] == [*lines_of([JSON, GATEWAY], least_us=400)]
