"""`token`: a JWT for the gateway, printed and nothing else."""

from __future__ import annotations

import datetime as dt
import json

import jwt
import pytest

from core.auth.jwt import FixedKey, JwtVerifier, SigningKey
from tests.cli.fake import run

SECRET = "a-secret-of-thirty-two-bytes-or-more"
SETTINGS = {
    "GATEWAY_JWT_SECRET": SECRET,
    "GATEWAY_JWT_ISSUER": "https://issuer.example",
    "GATEWAY_JWT_AUDIENCE": "image-gateway",
}


@pytest.fixture(autouse=True)
def _in_an_empty_directory(tmp_path, monkeypatch):
    """No local.settings.json but the test's own."""
    monkeypatch.chdir(tmp_path)


def minted(*arguments, env=None):
    """The claims of a token that is printed."""
    shown = run("token", *arguments, env=SETTINGS if env is None else env)
    assert (0, "") == (shown.exit_code, shown.stderr)
    token = shown.stdout.removesuffix("\n")
    return jwt.decode(token, SECRET, algorithms=["HS256"], audience="image-gateway", issuer="https://issuer.example")


def refused(*arguments, env):
    """What is said of settings that no token can be minted with; never the secret."""
    shown = run("token", "--role", "admin", *arguments, env=env)
    assert (1, "") == (shown.exit_code, shown.stdout)
    assert SECRET not in shown.stderr
    return shown.stderr


async def test_the_gateway_takes_it():
    """What is minted here is what is checked there."""
    token = run("token", "--role", "admin", "--sub", "Zoë", env=SETTINGS).stdout.strip()
    verifier = JwtVerifier(
        FixedKey(SigningKey("HS256", SECRET.encode())),
        issuer="https://issuer.example",
        audience="image-gateway",
        now=lambda: dt.datetime.now(dt.UTC),
    )

    claims = await verifier.verify(token)

    assert ("Zoë", "admin", None) == (claims.sub, claims.role, claims.narrowed_to)


@pytest.mark.parametrize(
    ("arguments", "seconds"), [([], 3_600), (["--hours", "0.5"], 1_800), (["--hours", "24"], 86_400)]
)
def test_it_counts_for_an_hour_or_as_long_as_is_said(arguments, seconds):
    """Short-lived by itself: it cannot be taken back."""
    claims = minted("--role", "admin", *arguments)

    assert seconds == claims["exp"] - claims["iat"]


def test_an_admin_without_a_name_is_called_by_their_login(monkeypatch):
    """The ledger says who it was."""
    monkeypatch.setenv("LOGNAME", "zoe")

    assert "zoe" == minted("--role", "admin")["sub"]


def test_a_token_can_stand_for_a_key_and_be_narrowed():
    """`sub` names the key's record."""
    claims = minted("--role", "virtual_key", "--sub", "vk-1", "--deployments", "a,b")

    assert ("vk-1", "virtual_key", ["a", "b"]) == (claims["sub"], claims["role"], claims["deployments"])


def test_without_deployments_there_is_no_such_claim():
    """An empty one would narrow to nothing."""
    assert "deployments" not in minted("--role", "admin")


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        ([], "--role"),
        (["--role", "king"], "--role"),
        (["--role", "virtual_key"], "--sub"),
        (["--role", "virtual_key", "--sub", " "], "--sub"),
        (["--role", "admin", "--hours", "0"], "--hours"),
        (["--role", "admin", "--hours", "-1"], "--hours"),
        (["--role", "admin", "--hours", "nan"], "--hours"),
        (["--role", "admin", "--hours", "inf"], "--hours"),
        (["--role", "admin", "--hours", "100000"], "--hours"),
        (["--role", "admin", "--deployments", ","], "--deployments"),
    ],
)
def test_odd_input_is_a_usage_error(arguments, option):
    """Nothing is on stdout, so that an `export` of it is empty."""
    shown = run("token", *arguments, env=SETTINGS)

    assert (2, "") == (shown.exit_code, shown.stdout)
    assert option in shown.stderr


def test_the_settings_may_be_those_of_the_local_host(tmp_path):
    """`make serve` and `func start` read them from there, too; the environment comes first."""
    values = {**SETTINGS, "GATEWAY_JWT_AUDIENCE": "another", "AzureWebJobsStorage": ""}
    (tmp_path / "local.settings.json").write_text("\ufeff" + json.dumps({"Values": values}), "utf-8")

    assert "image-gateway" == minted("--role", "admin", env={"GATEWAY_JWT_AUDIENCE": "image-gateway"})["aud"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "local.settings.json is not JSON"),
        ("[]", "local.settings.json has no object Values"),
        ('{"Values": 1}', "local.settings.json has no object Values"),
        (json.dumps({"IsEncrypted": True, "Values": {}}), "local.settings.json is encrypted"),
    ],
)
def test_local_settings_that_cannot_be_read_are_an_error(tmp_path, content, message):
    """Even where the environment has it all: whoever wrote them meant them."""
    (tmp_path / "local.settings.json").write_text(content)

    assert message in refused(env=SETTINGS)


@pytest.mark.parametrize("missing", sorted(SETTINGS))
def test_a_setting_that_is_missing_is_named(missing):
    """With where it belongs."""
    assert f"Error: {missing} is not set.\nSet it to the gateway's value" in refused(env={**SETTINGS, missing: None})


def test_a_secret_that_is_too_short_is_not_shown():
    """The gateway would not take it either."""
    assert "GATEWAY_JWT_SECRET is too short" in refused(env={**SETTINGS, "GATEWAY_JWT_SECRET": SECRET[:31]})


@pytest.mark.parametrize("name", ["GATEWAY_JWT_PUBLIC_KEY", "GATEWAY_JWT_JWKS_URL"])
def test_a_gateway_that_trusts_somebody_else_has_its_tokens_from_there(name):
    """There is no private key here to sign with."""
    env = {**SETTINGS, "GATEWAY_JWT_SECRET": None, name: "https://issuer.example/keys"}

    assert f"This gateway checks tokens with {name}" in refused(env=env)
