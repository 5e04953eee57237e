"""The command line in front of the real gateway."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.house import KEY, PROMPT, house

ROOT = Path(__file__).parents[2]
JWT = {
    "GATEWAY_JWT_SECRET": "a-secret-of-thirty-two-bytes-or-more",
    "GATEWAY_JWT_ISSUER": "https://issuer.example",
    "GATEWAY_JWT_AUDIENCE": "image-gateway",
}


async def command(*arguments: str, status: int = 0, **variables: str) -> str:
    """Run a command in a process of its own; gives what it printed, on stderr where it is to fail."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cli", *arguments),
        cwd=ROOT,
        env={**others, **variables},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    shown, said = await process.communicate()
    assert status == process.returncode, said.decode()
    return (said if status else shown).decode()


class Operator:
    """Somebody with an admin token at a shell."""

    def __init__(self, url: str, token: str) -> None:
        self.variables = {"GATEWAY_URL": url, "GATEWAY_ADMIN_TOKEN": token}

    async def __call__(self, *arguments: str, **options: Any) -> str:
        """Run a command and give what it shows."""
        return await command(*arguments, **self.variables, **options)

    async def json(self, *arguments: str) -> Any:
        """Run a command with --json."""
        return json.loads(await self(*arguments, "--json"))


@pytest.fixture
async def gateway():
    """A gateway that takes JWTs, in front of an emulator."""
    async with house(**JWT) as running:
        yield running


@pytest.fixture
async def operator(gateway):
    """With a token as `token` mints it."""
    token = await command("token", "--role", "admin", "--sub", "zoe", **JWT)
    return Operator(gateway.url, token.strip())


@pytest.mark.slow
async def test_a_keys_whole_life(gateway, operator):
    """Created, used, changed, rotated, deleted; after each step the gateway does what the command said."""
    made = await operator.json(
        *("keys", "create", "--name", "Team Zoë", "--deployments", "gpt-image-1", "--images-per-minute", "3"),
        *("--requests", "60/1m", "--budget", "50/month", "--expires", "2999-01-01", "--metadata", "cost_center=4711"),
    )
    key, key_id = made["key"], made["virtual_key"]["id"]
    assert 200 == (await gateway.draw(key=key, n=2)).status_code
    assert "rate_limited" == (await gateway.draw(key=key, n=2)).json()["error"]["code"]
    assert "deployment_not_allowed" == (await gateway.draw("gpt-image-2", key=key)).json()["error"]["code"]

    used = await operator.json("keys", "usage", key_id)
    assert (2, 1) == (used["totals"]["images"], used["images"]["remaining"])
    assert 0 < used["totals"]["cost_usd"] == used["budget"]["spent_usd"]
    assert "Team Zoë" in await operator("usage")
    assert f"{key_id},Team Zoë,false," in await operator("usage", "--csv")

    changed = await operator("keys", "update", "Team Zoë", "--no-limits", "--budget", "0.01/total")
    assert "Limits       none\nBudget       0.01 USD in total\n" in changed
    assert "budget_exceeded" == (await gateway.draw(key=key)).json()["error"]["code"]

    rotated = await operator.json("keys", "rotate", key_id, "--grace", "0")
    await operator("keys", "update", key_id, "--no-budget", "--name", "Team Z")
    assert 401 == (await gateway.draw(key=key)).status_code
    assert 200 == (await gateway.draw(key=rotated["key"])).status_code
    assert "Team Z" in await operator("keys", "list")

    await operator("keys", "delete", key_id, "--yes")
    assert 401 == (await gateway.draw(key=rotated["key"])).status_code
    assert "(key_not_found)" in await operator("keys", "show", key_id, status=1)


async def test_what_the_gateway_refuses_is_in_its_own_words(operator):
    """It knows its bounds; the command line does not repeat them."""
    said = await operator("keys", "create", "--name", "x", "--budget", "9999999/day", status=1)

    assert said.startswith("Error: The gateway rejected the request: budget.usd must be ")


async def test_a_key_of_the_setting_is_shown_and_not_changed(operator):
    """It belongs to whoever sets the settings."""
    assert "in the setting GATEWAY_VIRTUAL_KEYS" in await operator("keys", "show", "team-a")
    assert "(read_only_key)" in await operator("keys", "update", "team-a", "--deactivate", status=1)


async def test_a_token_for_a_key_draws_and_does_not_manage(gateway):
    """`--role virtual_key` stands for the key that `--sub` names, and no more."""
    token = await command("token", "--role", "virtual_key", "--sub", "team-a", "--deployments", "gpt-image-1", **JWT)
    token = token.strip()

    assert 200 == (await gateway.draw("gpt-image-1", key=token)).status_code
    assert 403 == (await gateway.draw("gpt-image-2", key=token)).status_code
    assert "(admin_required)" in await Operator(gateway.url, token)("keys", "list", status=1)


async def test_more_keys_than_a_page_holds_are_all_listed(gateway, operator):
    """The list is read to its end."""
    headers = {"authorization": f"Bearer {operator.variables['GATEWAY_ADMIN_TOKEN']}"}
    for number in range(205):
        body = {"name": f"Team {number}"}
        await gateway.http.post("/api/governance/virtual-keys", headers=headers, json=body)

    assert 206 == len((await operator.json("keys", "list"))["virtual_keys"])


@pytest.mark.slow
async def test_an_image_is_drawn_and_saved(gateway, tmp_path):
    """The same bytes that a call gets, streamed with unfinished images before."""
    shown = await command(
        *("draw", PROMPT, "--deployment", "gpt-image-1", "--size", "1024x1024", "--quality", "low"),
        *("--output", str(tmp_path / "fox.png")),
        GATEWAY_URL=gateway.url,
        GATEWAY_KEY=KEY,
    )

    assert f"{tmp_path / 'fox.png'}\n" == shown
    drawn = await gateway.draw(size="1024x1024", quality="low")
    assert base64.b64decode(drawn.json()["data"][0]["b64_json"]) == (tmp_path / "fox.png").read_bytes()


async def test_a_prompt_that_is_refused_is_an_error(gateway, tmp_path):
    """In Azure's words."""
    said = await command(
        *("draw", PROMPT, "--deployment", "gpt-image-1--fault-content-policy", "--output", str(tmp_path / "fox.png")),
        status=1,
        GATEWAY_URL=gateway.url,
        GATEWAY_KEY=KEY,
    )

    assert "(content_policy_violation)" in said
    assert [] == [*tmp_path.iterdir()]


async def test_the_doctor_finds_nothing_wrong_and_costs_nothing(operator):
    """It asks the gateway's own routes, with both credentials."""
    shown = await operator("doctor", "--json", GATEWAY_KEY=KEY)

    assert ["ok"] * 6 == [check["result"] for check in json.loads(shown)]
    assert 0 == (await operator.json("usage"))["totals"]["calls"]


async def test_the_doctor_finds_a_key_that_the_gateway_does_not_know(operator):
    """The gateway itself says so."""
    others = {**operator.variables, "GATEWAY_KEY": "sk-bf-nobody"}
    process = await command("doctor", status=1, **others)

    assert process.startswith("Ask whoever gave you the key.\n")


@pytest.mark.slow
async def test_a_job_is_submitted_waited_for_and_saved(gateway, tmp_path):
    """The same bytes that a call gets, for whoever has a key."""
    shown = await command(
        *("jobs", "submit", "--deployment", "gpt-image-1", "--prompt", PROMPT, "--size", "1024x1024"),
        *("--quality", "low", "--n", "2", "--save", str(tmp_path)),
        GATEWAY_URL=gateway.url,
        GATEWAY_KEY=KEY,
    )

    assert "State       succeeded\n" in shown
    drawn = await gateway.draw(size="1024x1024", quality="low", n=2)
    expected = sorted(base64.b64decode(item["b64_json"]) for item in drawn.json()["data"])
    assert expected == sorted(path.read_bytes() for path in tmp_path.glob("*-[12].png"))
