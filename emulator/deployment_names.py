"""Deployment names: here a name says which model answers, and which fault it has.

    [MODEL][--fault-FAULT[-times-K]][--LABEL]     gpt-image-1--fault-429-times-2--my-test

A name may begin with `fault-` at once; the model is then gpt-image-1. With `-times-K` only the first K calls
to this very name meet the fault. A label is free: names that differ in it have counters of their own.
"""

import re
from dataclasses import dataclass

from emulator.families import FAMILIES, Family
from emulator.faults import Fault, find_fault

# Azure OpenAI docs, "Create a resource and deploy a model": letters, digits, `-`, `_`, `.`; up to 64 of them.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_FAULT = re.compile(r"fault-(?P<fault>.+?)(?:-times-(?P<times>\d{1,6}))?")
_DEFAULT_MODEL = "gpt-image-1"


@dataclass(frozen=True)
class NamedFault:
    """A fault by its full name, its row in the table, and how many calls are to meet it (None: all)."""

    name: str
    fault: Fault
    times: int | None = None


@dataclass(frozen=True)
class Deployment:
    """What a deployment's name says."""

    name: str
    family: Family
    fault: NamedFault | None = None


def parse_deployment(name: str) -> Deployment | None:
    """Read a deployment's name; None if there is no such deployment."""
    if not _NAME.fullmatch(name):
        return None
    model, *rest = name.lower().split("--")
    if model.startswith("fault-"):
        model, rest = _DEFAULT_MODEL, [model, *rest]
    family = FAMILIES.get(model)
    if family is None or "" in rest:
        return None
    if not rest or not rest[0].startswith("fault-"):
        return Deployment(name, family)
    fault = parse_fault(rest[0])
    return Deployment(name, family, fault) if fault else None


def parse_fault(text: str) -> NamedFault | None:
    """Read `fault-FAULT[-times-K]`; None if there is no such fault."""
    parts = _FAULT.fullmatch(text)
    fault = parts and find_fault(parts["fault"])
    if not parts or not fault:
        return None
    return NamedFault(parts["fault"], fault, int(parts["times"]) if parts["times"] else None)
