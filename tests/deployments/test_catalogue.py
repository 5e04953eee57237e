"""The deployments that exist, and the targets behind each."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from core.deployments.catalogue import Catalogue
from core.deployments.families import FAMILIES
from core.domain.secret import Secret
from tests.deployments.asking import catalogue, deployment, open_catalogue, target


@pytest.mark.parametrize(
    ("own", "asked", "called"),
    [
        (None, None, "2025-04-01-preview"),
        (None, "2024-10-21", "2024-10-21"),
        ("2026-01-01", None, "2026-01-01"),
        ("2026-01-01", "2024-10-21", "2026-01-01"),
    ],
    ids=["its default", "the caller's", "its own", "its own, whatever the caller asks"],
)
def test_api_version(own: str | None, asked: str | None, called: str) -> None:
    """The caller's version goes upstream, except where the catalogue names the target's own."""
    assert called == replace(target("a"), own_api_version=own).api_version(asked)


def test_identity() -> None:
    """Two targets are the same where host and deployment are, in any case; name and key do not matter."""
    one = target("a")
    same = replace(
        one, name="b", key=Secret("k"), endpoint=one.endpoint.upper(), deployment=one.deployment.upper(), weight=9
    )
    assert one.identity == same.identity
    assert one.identity != replace(one, deployment="other").identity
    assert one.identity != replace(one, endpoint="https://other").identity


def test_listed_names_only() -> None:
    """With a catalogue only its names exist, in just this spelling, even where a name is that of a model."""
    listed = catalogue(deployment("a"), deployment("b"))
    assert [listed.find(name) is not None for name in ("a", "b", "A", "gpt-image-1", "")] == [
        True,
        True,
        False,
        False,
        False,
    ]


@pytest.mark.parametrize("name", [*FAMILIES, "mine", "GPT-IMAGE-1", "gpt-image-1-2025"])
def test_any_name_without_a_catalogue(name: str) -> None:
    """Without a catalogue every name goes to the one resource; one that is a model's, in any case, has its family."""
    found = open_catalogue().find(name)
    assert found is not None
    (only,) = found.targets
    assert (name, FAMILIES.get(name.lower())) == (found.name, found.family)
    assert ("https://one.openai.azure.com", name, None) == (only.endpoint, only.deployment, only.own_api_version)


def test_key_of_the_one_resource() -> None:
    """Without a catalogue the resource's key goes along with every name."""
    open_one = open_catalogue()
    assert open_one.default is not None
    found = replace(open_one, default=replace(open_one.default, key=Secret("k"))).find("any")
    assert found is not None
    assert [Secret("k")] == [each.key for each in found.targets]


def test_nothing_configured() -> None:
    """Where there is neither a catalogue nor a resource, nothing exists."""
    nothing = Catalogue(listed=None)
    assert (None, ()) == (nothing.find("gpt-image-1"), nothing.targets())


def test_all_targets() -> None:
    """Every target of every deployment is counted."""
    listed = catalogue(deployment("a"), deployment("b"))
    assert ["a#1", "b#1"] == [each.name for each in listed.targets()]
    assert ["#1"] == [each.name for each in open_catalogue().targets()]
