"""How a request is put to one deployment: what is sent, what is left out, and what cannot be honoured.

One pure function, `map_parameters`, over the family's row. The rules are those of contract §3, "Model families".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct
from msgspec.structs import replace

from core.deployments.catalogue import Overrides
from core.deployments.families import AWAKE_PIXELS, HIGH_QUALITIES, Awake, Family, FreeSizes
from core.domain.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from core.domain.request import ImageRequest

_NEVER_SENT: Final = frozenset({"model", "fallbacks"})
"""The gateway's own fields; on Azure's deployment path `model` is answered with 400 (several reports)."""


class UpstreamBody(Struct, frozen=True, kw_only=True):
    """A request in the words of one deployment."""

    fields: Mapping[str, Any]
    """What is sent, ready to be JSON."""
    streams: bool
    """Whether upstream is asked for a stream."""
    wants: str | None
    """`url` or `b64_json` where the gateway must see to it that each item has it; `None`: as it comes."""
    dropped: tuple[str, ...] = ()
    """The fields that were left out, for `x-gateway-dropped-params`."""
    has_family: bool = True
    """Whether the family said what may be sent; without one, upstream does."""
    mapped: tuple[str, ...] = ()
    """What was changed, for `x-gateway-mapped-params`."""


def map_parameters(
    request: ImageRequest, family: Family | None, overrides: Overrides | None = None, *, api_version: str | None = None
) -> UpstreamBody:
    """Put a request in the words of a family. Raises InvalidRequest where the family cannot honour it.

    `overrides` are the catalogue's for the deployment; `api_version` is the dated one that the caller asked for.
    """
    overrides = overrides or Overrides()
    mapped = [] if takes_api_version(family, api_version) else ["api-version"]
    size = overrides.sizes.get(request.size or "")
    if size is not None:
        request = request.model_copy(update={"size": size})
        mapped.append("size")
    sent = _map_to_family(request, family, overrides.drop)
    return replace(sent, mapped=tuple(mapped))


def takes_api_version(family: Family | None, api_version: str | None) -> bool:
    """Whether a dated api-version knows a family. An older one is what some clients send if nobody says otherwise."""
    oldest = None if family is None else family.min_api_version
    return oldest is None or api_version is None or api_version[: len(oldest)] >= oldest


def _map_to_family(request: ImageRequest, family: Family | None, drop: frozenset[str]) -> UpstreamBody:
    given = {name: value for name, value in request.fields.items() if name not in _NEVER_SENT}
    body = {name: value for name, value in given.items() if name not in drop}
    dropped = [name for name in given if name in drop]
    if request.streams:
        body.pop("response_format", None)  # it has no effect on a stream, which always holds base64
    wants = "b64_json" if request.streams else request.response_format
    if family is None:
        return UpstreamBody(fields=body, streams=request.streams, wants=wants, dropped=tuple(dropped), has_family=False)
    _refuse_what_is_impossible(request, family)
    left_out = [
        name for name in body if name in family.left_out or (name in family.auto_left_out and body[name] == "auto")
    ]
    for name in left_out:
        del body[name]
    if "quality" in body:
        body["quality"] = family.quality_names.get(body["quality"], body["quality"])
    streams = family.streams and request.images == 1
    body.pop("stream", None)
    body.pop("partial_images", None)
    if streams:
        # Also for a caller who wants JSON: a plain call is silent until it ends, and Azure cuts what is silent.
        body["stream"] = True
        partials = max(request.partials, 1 if _needs_waking(request, body, family) else 0)
        if partials:
            body["partial_images"] = partials
    body.pop("response_format", None)
    if wants is not None and family.chooses_format:
        body["response_format"] = wants
    return UpstreamBody(
        fields=body,
        streams=streams,
        wants=wants,
        dropped=(*dropped, *left_out),
    )


def _needs_waking(request: ImageRequest, body: Mapping[str, Any], family: Family) -> bool:
    """Whether the picture may take so long that its stream must not stay silent."""
    if family.awake is not Awake.AUTO:
        return family.awake is Awake.ALWAYS
    width, _, height = (request.size or "auto").partition("x")
    pixels = int(width) * int(height) if height else 0
    return body.get("quality", family.default_quality) in HIGH_QUALITIES or pixels > AWAKE_PIXELS


def _refuse_what_is_impossible(request: ImageRequest, family: Family) -> None:
    """Only what is certain is refused here; of the rest, upstream's answer decides."""
    if len(request.prompt) > family.prompt_characters:
        got = f"{len(request.prompt):,}"
        raise _cannot(family, "prompt", f"at most {family.prompt_characters:,} characters", got)
    if request.images > family.most_images:
        raise _cannot(family, "n", f"at most {family.most_images}", str(request.images))
    if request.size is not None and not _takes_size(request.size, family):
        legal = str(family.sizes) if isinstance(family.sizes, FreeSizes) else _one_of(family.sizes)
        raise _cannot(family, "size", legal, request.size)
    if request.quality is not None and not _takes_quality(request.quality, family):
        legal = _one_of((*(family.qualities or ()), *family.quality_names))
        raise _cannot(family, "quality", legal, request.quality)
    if request.background == "transparent" and request.output_format == "jpeg" and not family.transparent_jpeg:
        raise InvalidRequest(
            "background transparent needs output_format png, got jpeg, which cannot be transparent",
            param="background",
        )


def gives_url(family: Family) -> bool:
    """Whether an answer of this family can hold URLs."""
    return family.native == "url"


def _takes_size(size: str, family: Family) -> bool:
    if family.sizes is None or (size == "auto" and "size" in family.auto_left_out):
        return True
    if isinstance(family.sizes, FreeSizes):
        if size == "auto":
            return True
        width, _, height = size.partition("x")
        return family.sizes.allow(int(width), int(height))
    return size in family.sizes


def _takes_quality(quality: str, family: Family) -> bool:
    return (
        family.qualities is None
        or quality in family.qualities
        or quality in family.quality_names
        or (quality == "auto" and "quality" in family.auto_left_out)
    )


def _one_of(values: tuple[str, ...] | None) -> str:
    return f"one of {', '.join(values or ())}"


def _cannot(family: Family, param: str, legal: str, got: str) -> InvalidRequest:
    return InvalidRequest(f"{param} must be {legal} for {family.name}, got {got}", param=param)
