"""Validates a body as each family's server does: a body in, an `ImageRequest` or Azure's error out.

Facts: Azure OpenAI docs, image generation reference, and errors quoted in public issue reports. The order
of the checks is the emulator's: what is unknown first, then each key as the reference lists them.
"""

import re
from dataclasses import dataclass
from typing import Any, TypeVar

from emulator import errors
from emulator.errors import RequestRefused
from emulator.families import FAMILIES, Engine, Family

_SIZE = re.compile(r"([1-9]\d{1,4})x([1-9]\d{1,4})")
_TYPE_NAMES = {str: "a string", int: "an integer", bool: "a boolean"}
_DEFAULT_COMPRESSION = 100
_MAX_PARTIALS = 3

T = TypeVar("T", str, int, bool)


@dataclass(frozen=True, kw_only=True)
class ImageRequest:
    """A valid request, every value chosen."""

    family: Family
    prompt: str
    n: int
    size: str
    quality: str
    style: str
    background: str
    output_format: str
    compression: int
    as_url: bool
    stream: bool
    partial_images: int

    @property
    def width(self) -> int:
        """The picture's width in pixels."""
        return int(self.size.split("x")[0])

    @property
    def height(self) -> int:
        """The picture's height in pixels."""
        return int(self.size.split("x")[1])


def validate(family: Family, body: Any, *, model_is_deployment: bool = False) -> ImageRequest:
    """Validate a body. Raises RequestRefused.

    `model_is_deployment` is true on the v1 path, where the body's `model` names the deployment.
    """
    if not isinstance(body, dict):
        raise RequestRefused(errors.not_json())
    given = {key: value for key, value in body.items() if value is not None}
    for key in given:
        if key not in family.keys:
            raise RequestRefused(errors.unknown_parameter(key))
    if not model_is_deployment:
        _check_model(family, given)
    background = _one_of(family, given, "background", family.backgrounds, "auto")
    output_format = _one_of(family, given, "output_format", family.formats, "png")
    if background == "transparent" and output_format == "jpeg":
        raise RequestRefused(_bad_value("Transparent background requires the output format png.", "background"))
    quality = _one_of(family, given, "quality", family.qualities, "auto")
    size = _size(family, given)
    n = _integer(family, given, "n", 1, (1, family.max_n))
    stream = _typed(family, given, "stream", bool, default=False)
    if stream and n > 1:
        raise RequestRefused(
            errors.error(400, message="Streaming is only supported with n=1.", type=errors.INVALID_REQUEST)
        )
    _one_of(family, given, "moderation", ("low", "auto"), "auto")
    _typed(family, given, "user", str, default="")
    url_first = family.engine is not Engine.GPT_IMAGE
    return ImageRequest(
        family=family,
        prompt=_prompt(family, given),
        n=n,
        size="1024x1024" if size == "auto" else size,
        quality=family.usual_quality if quality == "auto" else quality,
        style=_one_of(family, given, "style", ("vivid", "natural"), "vivid"),
        background="opaque" if background == "auto" else background,
        output_format=output_format,
        compression=_integer(family, given, "output_compression", _DEFAULT_COMPRESSION, (0, 100)),
        as_url=url_first and _one_of(family, given, "response_format", ("url", "b64_json"), "url") == "url",
        stream=stream,
        partial_images=_integer(family, given, "partial_images", 0, (0, _MAX_PARTIALS)),
    )


def _check_model(family: Family, given: dict[str, Any]) -> None:
    """Refuse a deployment's name in `model`: gpt-image-2 takes it for a model's (reports)."""
    model = _typed(family, given, "model", str, default=family.name)
    if family.checks_model and model not in FAMILIES:
        message = f"The model '{model}' does not exist."
        raise RequestRefused(
            errors.bad_request(message, param="model", code="invalid_value", kind=errors.IMAGE_USER_ERROR)
        )


def _prompt(family: Family, given: dict[str, Any]) -> str:
    if "prompt" not in given:
        message = "Missing required parameter: 'prompt'."
        raise RequestRefused(errors.bad_request(message, param="prompt", code="missing_required_parameter"))
    prompt = _typed(family, given, "prompt", str, default="")
    if not prompt:
        message = (
            "Invalid 'prompt': empty string. Expected a string with minimum length 1, but got an empty string instead."
        )
        raise RequestRefused(errors.bad_request(message, param="prompt", code="empty_string"))
    if len(prompt) <= family.prompt_limit:
        return prompt
    if family.engine is Engine.DALL_E:  # it repeats the whole prompt (reports)
        raise RequestRefused(errors.invalid_payload(f"'{prompt}' is too long - 'prompt'"))
    message = (
        f"Invalid 'prompt': string too long. Expected a string with maximum length {family.prompt_limit}, "
        f"but got a string with length {len(prompt)} instead."
    )
    raise RequestRefused(errors.bad_request(message, param="prompt", code="string_above_max_length"))


def _size(family: Family, given: dict[str, Any]) -> str:
    size = _typed(family, given, "size", str, default=family.sizes[0])
    if size in family.sizes:
        return size
    free = family.free_sizes
    if free is None:
        raise _unsupported(family, "size", size, family.sizes)
    parts = _SIZE.fullmatch(size)
    if not parts:
        raise RequestRefused(_bad_value(f"Invalid size '{size}'. Use WIDTHxHEIGHT or 'auto'.", "size"))
    short, long = sorted((int(parts[1]), int(parts[2])))
    wrong = (
        (short % free.step or long % free.step) and f"Width and height must both be divisible by {free.step}.",
        long > free.edges[1] and f"The longest edge must be less than or equal to {free.edges[1]} pixels.",
        short < free.edges[0] and f"The shortest edge must be at least {free.edges[0]} pixels.",
        long > short * free.ratio and f"The long edge may be at most {free.ratio} times the short edge.",
        short * long < free.pixels[0] and f"The picture must have at least {free.pixels[0]} pixels.",
        short * long > free.pixels[1] and f"The picture may have at most {free.pixels[1]} pixels.",
    )
    for reason in filter(None, wrong):
        raise RequestRefused(_bad_value(f"Invalid size '{size}'. {reason}", "size"))
    return size


def _one_of(family: Family, given: dict[str, Any], key: str, allowed: tuple[str, ...], default: str) -> str:
    if key not in given:
        return default
    value = _typed(family, given, key, str, default=default)
    if value not in allowed:
        raise _unsupported(family, key, value, allowed)
    return value


def _integer(family: Family, given: dict[str, Any], key: str, default: int, limits: tuple[int, int]) -> int:
    value = _typed(family, given, key, int, default=default)
    least, most = limits
    if least <= value <= most:
        return value
    if family.engine is Engine.DALL_E:
        raise RequestRefused(errors.invalid_property(key))
    side, bound, sign = ("below minimum", least, ">=") if value < least else ("above maximum", most, "<=")
    message = f"Invalid '{key}': integer {side} value. Expected a value {sign} {bound}, but got {value} instead."
    code = "integer_below_min_value" if value < least else "integer_above_max_value"
    raise RequestRefused(errors.bad_request(message, param=key, code=code))


def _typed(family: Family, given: dict[str, Any], key: str, kind: type[T], *, default: T) -> T:
    value = given.get(key, default)
    if type(value) is kind:
        return value
    if family.engine is Engine.DALL_E:
        raise RequestRefused(errors.invalid_property(key))
    got = _TYPE_NAMES.get(type(value), "an object" if isinstance(value, dict) else "a value of another type")
    message = f"Invalid type for '{key}': expected {_TYPE_NAMES[kind]}, but got {got} instead."
    raise RequestRefused(errors.bad_request(message, param=key, code="invalid_type"))


def _unsupported(family: Family, key: str, value: str, allowed: tuple[str, ...]) -> RequestRefused:
    if family.engine is Engine.DALL_E:
        return RequestRefused(errors.invalid_property(key))
    if value == "transparent":
        return RequestRefused(_bad_value("Transparent background is not supported for this model.", key))
    *first, last = (f"'{name}'" for name in allowed)
    supported = f"{', '.join(first)}{',' if len(first) > 1 else ''} and {last}"
    message = f"Invalid value: '{value}'. Supported values are: {supported}."
    return RequestRefused(errors.bad_request(message, param=key, code="invalid_value"))


def _bad_value(message: str, param: str) -> errors.HttpResponse:
    return errors.bad_request(message, param=param, code="invalid_value", kind=errors.IMAGE_USER_ERROR)
