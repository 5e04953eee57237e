"""Reading what `python -X importtime` reports."""

from __future__ import annotations

import subprocess
import sys

import pytest

from bench.imports import PYTHON, Import, find_package, format_tree, parse_report, sum_packages

REPORT = """\
import time: self [us] | cumulative | imported package
import time:       100 |        100 |     core.domain
a line of the app's own
import time:       900 |       1000 |   core.errors
import time:       300 |        300 |   orjson
import time:      2000 |       3300 | core.gateway
import time:       400 |        400 | json
"""
IMPORTS = [
    Import(name="core.domain", depth=2, self_us=100, total_us=100),
    Import(name="core.errors", depth=1, self_us=900, total_us=1000),
    Import(name="orjson", depth=1, self_us=300, total_us=300),
    Import(name="core.gateway", depth=0, self_us=2000, total_us=3300),
    Import(name="json", depth=0, self_us=400, total_us=400),
]


def test_a_report_is_read() -> None:
    """Each module has its depth and times; other lines are passed over."""
    assert IMPORTS == parse_report(REPORT)


def test_this_pythons_report_is_read() -> None:
    """This very Python's report is understood."""
    done = subprocess.run([sys.executable, "-X", "importtime", "-c", "import json"], capture_output=True, check=True)
    assert {"json", "json.decoder"} <= {each.name for each in parse_report(done.stderr.decode())}


def test_packages_are_summed() -> None:
    """Each package has the time of its modules without what they import, the most expensive first."""
    assert [("core", 3000, 3), (PYTHON, 400, 1), ("orjson", 300, 1)] == sum_packages(IMPORTS)


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
def test_a_module_belongs_to_a_package(name: str, package: str) -> None:
    """Python's own modules are one package, those under `azure` are several."""
    assert package == find_package(name)


def test_the_tree_is_told() -> None:
    """A module stands above those that it imported, and what costs too little is left out."""
    assert [
        "     0.4     0.4  json",
        "     3.3     2.0  core.gateway",
        "     1.0     0.9    core.errors",
    ] == [*format_tree(IMPORTS, min_us=400)]
