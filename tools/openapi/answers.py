"""What a generation of pictures answers, as models: for the description only. The answers themselves are not rebuilt.

Shape: Bifrost's published page (create-image) and Azure OpenAI's image generation reference.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field


class Answer(BaseModel):
    """Fields that upstream adds are passed on."""

    model_config = ConfigDict(extra="allow", defer_build=True)


class Image(Answer):
    """One picture."""

    b64_json: Annotated[str | None, Field(description="The picture in base64.")] = None
    url: Annotated[str | None, Field(description="Where the picture can be fetched, for a while.")] = None
    revised_prompt: str | None = None
    index: Annotated[int, Field(ge=0)]


class InputTokens(Answer):
    """Tokens of the prompt."""

    text_tokens: int = 0
    image_tokens: int = 0


class OutputTokens(Answer):
    """Tokens of the pictures."""

    text_tokens: int = 0
    image_tokens: int = 0


class TokenUsage(Answer):
    """Tokens, as upstream counts them."""

    input_tokens: int
    input_tokens_details: InputTokens | None = None
    output_tokens: int
    output_tokens_details: OutputTokens | None = None
    total_tokens: int


class Attempt(Answer):
    """One attempt upstream, or a fallback that was passed over."""

    deployment: str
    outcome: Annotated[str, Field(description="What it means for what is tried next.", examples=["picture"])]
    status: Annotated[int | None, Field(description="Upstream's status; `null`: there was none.")]
    latency_ms: int
    reason: Annotated[str | None, Field(description="Why a fallback was passed over.")] = None


class Extra(Answer):
    """What the gateway says about the call."""

    provider: Literal["azure"]
    model_requested: Annotated[str, Field(description="The `model` of the request's body.")]
    deployment: Annotated[str, Field(description="The one that drew.")]
    request_type: Literal["image_generation", "image_generation_stream"]
    latency_ms: int
    fallback_index: Annotated[int, Field(description="0 is the deployment in the path.")]
    attempts: list[Attempt]
    cost_usd: Annotated[float | None, Field(description="What the call cost; `null`: nobody knows.")] = None
    withheld: Annotated[
        list[dict[str, Any]] | None,
        Field(description="Pictures that were not handed out: place, filter results."),
    ] = None


class ImagesAnswer(Answer):
    """Pictures, whole."""

    created: Annotated[int | None, Field(description="Unix time in seconds.")] = None
    data: list[Image]
    background: str | None = None
    output_format: str | None = None
    quality: str | None = None
    size: str | None = None
    usage: TokenUsage | None = None
    extra_fields: Extra


class ImageEvent(Answer):
    """What both events of a stream have."""

    b64_json: str | None = None
    index: Annotated[int | None, Field(description="Which of the `n` pictures.")] = None
    created_at: int | None = None
    size: str | None = None
    quality: str | None = None
    background: str | None = None
    output_format: str | None = None


class PartialImageEvent(ImageEvent):
    """A picture that is not finished."""

    type: Literal["image_generation.partial_image"]
    partial_image_index: int


class CompletedEvent(ImageEvent):
    """A finished picture."""

    type: Literal["image_generation.completed"]
    url: str | None = None
    usage: Annotated[TokenUsage | None, Field(description="On the last event.")] = None
    extra_fields: Extra


class ErrorDetail(Answer):
    """What is wrong. What upstream adds, such as `inner_error`, is passed on."""

    type: str
    code: Annotated[str | None, Field(description="For programs; the statuses list the gateway's own.")]
    message: Annotated[str, Field(description="For people: what is wrong, and what to do.")]
    param: Annotated[str | None, Field(description="Where it is wrong.")]
    event_id: str


class ErrorExtra(Answer):
    """What the gateway says about the call."""

    provider: Literal["azure"]
    model_requested: str
    request_type: Literal[
        "image_generation", "image_generation_stream", "image_generation_job", "list_models", "governance"
    ]
    attempts: Annotated[list[Attempt] | None, Field(description="Where upstream was called.")] = None


class ErrorBody(BaseModel):
    """The one shape of all errors."""

    model_config = ConfigDict(extra="forbid", defer_build=True)

    event_id: Annotated[str, Field(description="Also in the header `x-request-id`, and in the gateway's log.")]
    type: str
    is_bifrost_error: Annotated[bool, Field(description="Whether it is the gateway that says no, or upstream.")]
    status_code: int
    error: ErrorDetail
    extra_fields: ErrorExtra


class ErrorEvent(BaseModel):
    """The last event of a stream that has failed: the error body as an event."""

    model_config = ConfigDict(extra="forbid", defer_build=True)

    type: Literal["error"]
    event_id: str
    is_bifrost_error: bool
    status_code: int
    error: ErrorDetail
    extra_fields: ErrorExtra


class JobView(BaseModel):
    """A generation that is carried out later."""

    model_config = ConfigDict(extra="forbid", defer_build=True)

    id: str
    status: Literal["queued", "running", "succeeded", "failed", "cancelled"]
    deployment: Annotated[str, Field(description="The one in the path.")]
    event_id: Annotated[str, Field(description="Of the call that ordered it.")]
    created_at: AwareDatetime
    ended_at: AwareDatetime | None
    answer: Annotated[ImagesAnswer | None, Field(description="Where it has succeeded.")] = None
    error: Annotated[ErrorBody | None, Field(description="Where it has failed.")] = None


class Model(BaseModel):
    """A deployment, as OpenAI shows a model."""

    model_config = ConfigDict(extra="forbid", defer_build=True)

    id: str
    object: Literal["model"]
    created: int
    owned_by: Literal["azure"]


class ModelPage(BaseModel):
    """The deployments that a caller may call."""

    model_config = ConfigDict(extra="forbid", defer_build=True)

    object: Literal["list"]
    data: list[Model]


class Health(BaseModel):
    """Whether the process can work."""

    model_config = ConfigDict(extra="forbid", defer_build=True)

    status: Annotated[
        Literal["ok", "misconfigured"], Field(description="`misconfigured`: every call is 503; the log says why.")
    ]


EVERY_EVENT: dict[str, Any] = {
    "image_generation.partial_image": PartialImageEvent,
    "image_generation.completed": CompletedEvent,
    "error": ErrorEvent,
}
"""The events of a stream, by their names."""
