"""A job as the gateway shows it, and in words."""

from pydantic import AwareDatetime, Field

from cli.answers import Answer, when
from cli.failure import Failure
from cli.text import plain


class Picture(Answer):
    """One picture: where it can be fetched, or itself."""

    url: str | None = None
    b64_json: str | None = Field(default=None, repr=False)


class Pictures(Answer):
    """The answer of a job that has succeeded."""

    data: tuple[Picture, ...]


class Said(Answer):
    """What went wrong."""

    code: str
    message: str


class Wrong(Answer):
    """The error of a job that has failed."""

    error: Said


class JobRecord(Answer):
    """A job."""

    id: str
    status: str
    deployment: str
    created_at: AwareDatetime
    ended_at: AwareDatetime | None = None
    answer: Pictures | None = None
    error: Wrong | None = None

    def fields(self) -> dict[str, str]:
        """Give it line by line."""
        shown = {"ID": self.id, "State": self.status, "Deployment": self.deployment, "Ordered": when(self.created_at)}
        if self.ended_at is not None:
            shown["Ended"] = when(self.ended_at)
        if self.error is not None:
            shown["Error"] = f"{self.error.error.message} ({self.error.error.code})"
        for number, picture in enumerate(self.answer.data if self.answer else (), 1):
            shown[f"Picture {number}"] = picture.url or "within the answer: jobs show ID --save DIR"
        return shown

    def failure(self) -> Failure:
        """Say why there is no picture."""
        if self.error is None:
            return Failure(f"The job {self.id} has no pictures: it is {plain(self.status)}.")
        said = self.error.error
        return Failure(f"The job {self.id} has failed: {plain(said.message).rstrip('.')} ({plain(said.code)}).")
