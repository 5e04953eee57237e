"""How the contenders are asked and set up."""

from __future__ import annotations

import json

import pytest

from bench.canned import Kind
from bench.contenders import CONTENDERS, Contender, Direct, Gateway, LiteLLM, Portkey
from bench.growth import KINDS
from core.domain.request import parse_request
from core.settings.settings import read_settings

KIND = Kind(characters=4096)


def test_the_gateway_is_set_up_as_in_production() -> None:
    """Its settings are valid: every deployment has its family, and three targets with keys of their own."""
    catalogue = read_settings(Gateway.settings(8080, KINDS)).catalogue
    for kind in KINDS:
        deployment = catalogue.find(kind.deployment)
        assert deployment is not None
        assert deployment.family is not None
        assert len({target.endpoint for target in deployment.targets}) == 3
        assert all(target.key is not None for target in deployment.targets)


@pytest.mark.parametrize("contender", CONTENDERS, ids=lambda contender: contender.name)
def test_all_are_asked_for_the_same(contender: Contender) -> None:
    """Prompt, size and quality are the same for all; a stream and several pictures are asked for in Azure's words."""
    plain, several, stream = (
        json.loads(ask.body)
        for ask in (contender.ask(KIND), contender.ask(KIND, images=4), contender.ask(KIND, partials=1))
    )
    same = ("prompt", "size", "quality")
    assert len({tuple(each[name] for name in same) for each in (plain, several, stream)}) == 1
    direct = json.loads(Direct().ask(KIND).body)
    assert [direct[name] for name in same] == [plain[name] for name in same]
    assert (None, 4, True, 1) == (plain.get("n"), several["n"], stream["stream"], stream["partial_images"])


def test_the_gateway_takes_what_it_is_asked() -> None:
    """The request is one that the contract allows."""
    request = parse_request(Gateway().ask(KIND, partials=1).body.encode(), "d")
    assert (True, 1, 1) == (request.streams, request.partials, request.images)


def test_litellm_knows_each_deployment() -> None:
    """Every deployment that is asked for is a model of its configuration, on the bench's upstream."""
    models = LiteLLM.settings("http://127.0.0.1:1", KINDS)["model_list"]
    assert isinstance(models, list)
    assert [kind.deployment for kind in KINDS] == [model["model_name"] for model in models]
    assert {"http://127.0.0.1:1"} == {model["litellm_params"]["api_base"] for model in models}


def test_portkey_is_told_where_to_go() -> None:
    """Portkey's callers name the upstream on loopback themselves."""
    portkey = Portkey()
    portkey.start(1, 8080, [KIND])
    assert portkey.ask(KIND).headers["x-portkey-custom-host"] == "http://127.0.0.1:8080/openai"
