"""The deployments that a caller may call, as OpenAI lists its models (OpenAI API reference, "List models")."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core.auth.credentials import read_credential
from core.domain.errors import NotFound
from core.domain.request import DEPLOYMENT_NAME
from core.domain.response import HttpResponse, json_response

if TYPE_CHECKING:
    from core.auth.authenticator import Authenticator
    from core.auth.caller import Caller
    from core.deployments.catalogue import Catalogue
    from core.domain.http_request import HttpRequest


class ModelsApi:
    """Answers `GET …/models` and `GET …/models/{model}`."""

    def __init__(self, authenticator: Authenticator, catalogue: Catalogue) -> None:
        self._authenticator = authenticator
        self._catalogue = catalogue

    async def list_models(self, request: HttpRequest) -> HttpResponse:
        """List them. A deployment in the path must be one of the caller's."""
        caller = await self._authenticator.authenticate(read_credential(request.headers))
        deployment = request.parameters.get("deployment")
        if deployment is not None:
            self._check(caller, deployment)
        names = self._catalogue.families if self._catalogue.listed is None else self._catalogue.listed
        models = [_model(name) for name in names if caller.may_call(name)]
        return json_response(200, {"object": "list", "data": models})

    async def show_model(self, request: HttpRequest) -> HttpResponse:
        """Show one of them."""
        caller = await self._authenticator.authenticate(read_credential(request.headers))
        self._check(caller, request.parameters["model"])
        return json_response(200, _model(request.parameters["model"]))

    def _check(self, caller: Caller, name: str) -> None:
        """Raise NotFound for what does not exist, and for what is not the caller's: nobody learns which."""
        exists = DEPLOYMENT_NAME.fullmatch(name) is not None and self._catalogue.find(name) is not None
        if not exists or not caller.may_call(name):
            raise NotFound("There is no such deployment", code="deployment_not_found")


def _model(name: str) -> dict[str, Any]:
    """When a deployment was made is not known here, and OpenAI's SDKs want a number."""
    return {"id": name, "object": "model", "created": 0, "owned_by": "azure"}
