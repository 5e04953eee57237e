"""The first thing that pydantic finds wrong, as a 400 that names the field, what it may be, and what it is."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from core.domain.errors import InvalidRequest
from core.domain.json_input import shown

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

_OUT_OF_RANGE: Final = frozenset({"greater_than_equal", "less_than_equal"})
_WRONG_TYPE: Final = frozenset(
    f"{each}_type" for each in ("int", "float", "string", "bool", "list", "dict", "datetime", "model")
)
_PRINTABLE: Final = re.compile(r"[!-~]{1,64}")


def first_error(invalid: ValidationError) -> ErrorDetails:
    """The first error, without the value that it is about."""
    return invalid.errors(include_url=False, include_context=False, include_input=False)[0]


def wrong_field(
    invalid: ValidationError, fields: dict[str, Any], legal: Mapping[str, str], private: Collection[str] = ()
) -> InvalidRequest:
    """Say what is wrong with `fields`.

    `legal` says what each may be, nested ones by `a.b`; `[]` stands for an index, `.*` for a name of the caller's own.
    What stands in a `private` field is not repeated.
    """
    first = first_error(invalid)
    param, rule, value = _place(first["loc"], fields, legal)
    if first["type"] == "extra_forbidden":
        parent, _, name = rule.rpartition(".")
        prefix = f"{parent}." if parent else ""
        return unknown_name(
            "field", name, [each.removeprefix(prefix) for each in legal if each.startswith(prefix)], param
        )
    if first["type"] == "missing":
        return InvalidRequest(f"{param} is required: {legal[rule]}", code="missing_required_parameter", param=param)
    may_be = legal[rule].removeprefix("an integer ") if first["type"] in _OUT_OF_RANGE else legal[rule]
    got = "" if rule in private else f", got {shown(value)}"
    code = "invalid_type" if first["type"] in _WRONG_TYPE else "invalid_value"
    return InvalidRequest(f"{param} must be {may_be}{got}", code=code, param=param)


def unknown_name(kind: str, name: str, known: Iterable[str], where: str) -> InvalidRequest:
    """Say that there is no such field or parameter, and which one was probably meant."""
    import difflib  # noqa: PLC0415 -- for mistakes only

    names = [each for each in known if "." not in each and "[" not in each]
    near = difflib.get_close_matches(name[:64], names, n=1)
    hint = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(names)}" if names else ""
    return InvalidRequest(
        f"There is no {kind} {shown(name)}{hint}", code="unknown_parameter", param=where if len(where) <= 64 else None
    )


def _place(loc: Sequence[int | str], fields: dict[str, Any], legal: Mapping[str, str]) -> tuple[str, str, object]:
    """Where an error is: as the caller would write it, as `legal` has it, and what stands there."""
    param = rule = ""
    value: Any = fields
    for part in loc:
        if isinstance(part, int):
            param, rule, value = f"{param}[{part}]", f"{rule}[]", value[part]
        elif f"{rule}.*" in legal:
            value, rule = value.get(part), f"{rule}.*"
            param = f"{param}.{part}" if _PRINTABLE.fullmatch(part) else param
        elif rule.endswith(".*"):  # pydantic's `[key]`: it is the name that is wrong
            value = loc[-2]
        else:
            param, rule = (f"{param}.{part}", f"{rule}.{part}") if param else (part, part)
            value = value.get(part) if isinstance(value, dict) else None
    return param, rule, value
