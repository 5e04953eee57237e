"""`keys create`, `keys list`, `keys show`: what each asks of the gateway, and what it shows."""

from __future__ import annotations

import json

import pytest

from tests.cli.fake import KEY, RECORD, Reply, failed, key_reply

KEYS = "/api/governance/virtual-keys"
ONE = f"{KEYS}/vk-1"
HOUR = {"limit": 20, "window": "1h"}
MINUTE = {"limit": 60, "window": "1m"}


def page(*records, cursor=None):
    """A page of keys."""
    return {"virtual_keys": list(records), "next_cursor": cursor}


class TestCreate:
    """`keys create`."""

    def test_every_option_becomes_a_field(self, gateway):
        """With the value that the API expects."""
        gateway.answers("POST", KEYS, {**key_reply(), "key": KEY})

        gateway.run(
            *("keys", "create", "--name", "Team A", "--deployments", "gpt-image-2,gpt-image-1.5", "--images", "20/1h"),
            *("--requests-per-minute", "60", "--budget", "50/month", "--expires", "2027-01-01"),
            *("--metadata", "cost_center=4711", "--metadata", "owner=Zoë"),
        )

        assert {
            "name": "Team A",
            "deployments": ["gpt-image-2", "gpt-image-1.5"],
            "expires_at": "2027-01-01T00:00:00Z",
            "rate_limit": {"images": HOUR, "requests": MINUTE},
            "budget": {"usd": 50, "window": "month"},
            "metadata": {"cost_center": "4711", "owner": "Zoë"},
        } == gateway.sent("POST")

    def test_what_is_not_given_is_not_sent(self, gateway):
        """The gateway's own defaults hold."""
        gateway.answers("POST", KEYS, {**key_reply(), "key": KEY})

        gateway.run("keys", "create", "--name", "Team A")

        assert {"name": "Team A"} == gateway.sent("POST")

    def test_the_key_is_shown_on_a_line_of_its_own_with_a_warning(self, gateway):
        """It is shown this once, and says so."""
        gateway.answers("POST", KEYS, {**key_reply(), "key": KEY})

        shown = gateway.run("keys", "create", "--name", "Team A").stdout

        assert f"  {KEY}" in shown.splitlines()
        assert "it will not be shown again" in shown

    def test_a_key_that_may_call_nothing_is_said_to_be_one(self, gateway):
        """Nobody should find out by a 403."""
        gateway.answers("POST", KEYS, {**key_reply(deployments=[]), "key": KEY})

        shown = gateway.run("keys", "create", "--name", "Team A")

        assert "It may call no deployment yet: image-gateway keys update vk-1 --deployments NAMES\n" == shown.stderr

    def test_with_json_stdout_is_the_gateways_answer_and_nothing_else(self, gateway):
        """Scripts read it whole."""
        answer = {**key_reply(name="Zoë \x9b"), "key": KEY}
        gateway.answers("POST", KEYS, answer)

        shown = gateway.run("keys", "create", "--name", "Zoë", "--json")

        assert answer == json.loads(shown.stdout)
        assert shown.stdout.isascii()
        assert "" == shown.stderr

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--budget", "50/fortnight"], "'50/fortnight' is not USD/WINDOW, such as 50/month"),
            (["--images", "abc"], "'abc' is not COUNT/WINDOW, such as 20/1h"),
            (["--images", "-5/1h"], "'-5/1h' is not COUNT/WINDOW"),
            (["--requests-per-minute", "-5"], "'-5' is not a whole number of 1 or more"),
            (["--images", "20/1h", "--images-per-minute", "5"], "give --images or --images-per-minute, not both"),
            (["--expires", "01.02.2027"], "'01.02.2027' is not a date such as 2027-01-01"),
            (["--metadata", "cost_center"], "'cost_center' is not NAME=VALUE"),
            (["--deployments", "a,,b"], "a deployment's name is empty"),
            (["--metadata", "a=\udcff"], "an argument has bytes that are not text"),
            (["--token", KEY], "No such option"),
        ],
    )
    def test_odd_input_is_a_usage_error_that_asks_nothing_of_the_gateway(self, gateway, arguments, message):
        """Status 2, the option's name, what is wrong with it, and what would be right."""
        shown = gateway.run("keys", "create", "--name", "Team A", *arguments)

        assert 2 == shown.exit_code
        assert message in shown.stderr
        assert "" == shown.stdout
        assert [] == gateway.received

    def test_a_name_is_needed(self, gateway):
        """Nobody recognises a key without one."""
        shown = gateway.run("keys", "create")

        assert 2 == shown.exit_code
        assert "Missing option '--name'" in shown.stderr


class TestList:
    """`keys list`."""

    def test_one_line_for_each_key_where_it_is_piped(self, gateway):
        """So that it can be searched line by line, with nothing cut off."""
        long = "gpt-image-2-in-sweden-central-" * 20
        gateway.answers(
            "GET",
            KEYS,
            page(
                {**RECORD, "rate_limit": {"images": HOUR, "requests": MINUTE}, "budget": {"usd": 0.5, "window": "day"}},
                {
                    **RECORD,
                    "id": "vk-2",
                    "name": "株式会社 🎨",
                    "deployments": ["*"],
                    "expires_at": "2027-01-01T00:00:00Z",
                },
                {**RECORD, "id": "vk-3", "deployments": [], "active": False},
                {**RECORD, "id": "vk-4", "deployments": [long], "expires_at": "2001-01-01T00:00:00Z"},
            ),
        )

        lines = gateway.run("keys", "list").stdout.splitlines()

        assert ["ID", "Name", "Key", "Deployments", "Limits", "State"] == lines[0].split()
        assert [
            "vk-1  Team A  sk-bf-1a2b  gpt-image-2  20 images/h, 60 requests/min, 0.5 USD/day  active",
            "vk-2  株式会社 🎨  sk-bf-1a2b  all  none  expires 2027-01-01",
            "vk-3  Team A  sk-bf-1a2b  none  none  inactive",
            f"vk-4  Team A  sk-bf-1a2b  {long}  none  expired 2001-01-01",
        ] == ["  ".join(cell.strip() for cell in line.split("  ") if cell.strip()) for line in lines[2:]]

    def test_pages_are_followed_to_the_end(self, gateway):
        """A long list is one list."""
        gateway.answers("GET", KEYS, page(RECORD, cursor="a"), page(cursor="b/="), page({**RECORD, "id": "vk-2"}))

        shown = gateway.run("keys", "list", "--json")

        assert page(RECORD, {**RECORD, "id": "vk-2"}) == json.loads(shown.stdout)
        assert [None, "a", "b/="] == [request.query.get("cursor") for request in gateway.received]

    def test_pages_that_never_end_are_an_error(self, gateway):
        """A cursor that comes again would be followed for ever."""
        gateway.answers("GET", KEYS, page(RECORD, cursor="a"))

        shown = gateway.run("keys", "list")

        assert 1 == shown.exit_code
        assert "The gateway's list does not end." in shown.stderr

    def test_an_empty_list_says_how_to_make_a_key(self, gateway):
        """The first thing that anybody does."""
        gateway.answers("GET", KEYS, page())

        assert "There are no keys yet. Create one: image-gateway keys create" in gateway.run("keys", "list").stdout

    def test_names_cannot_control_the_terminal_or_be_markup(self, gateway):
        """They are what somebody typed."""
        gateway.answers("GET", KEYS, page({**RECORD, "name": "[red]x[/] \x1b[2J\r\u202e :smile:"}))

        shown = gateway.run("keys", "list").stdout

        assert "[red]x[/] �[2J�� :smile:" in shown
        assert not {"\x1b", "\r", "\u202e"} & set(shown)


class TestShow:
    """`keys show`."""

    def test_a_key_is_shown_field_by_field(self, gateway):
        """With everything that its operator decided."""
        gateway.answers(
            "GET",
            ONE,
            key_reply(
                rate_limit={"images": HOUR, "requests": None},
                budget={"usd": 1234.5, "window": "total"},
                metadata={"cost_center": "4711"},
                last_used_at="2026-11-03T10:00:00+01:00",
                previous_key_until="2999-01-01T00:00:00Z",
            ),
        )

        assert [
            "ID           vk-1",
            "Name         Team A",
            "Key          sk-bf-1a2b…",
            "Old secret   valid until 2999-01-01",
            "State        active",
            "Deployments  gpt-image-2",
            "Limits       20 images/h",
            "Budget       1,234.5 USD in total",
            "Metadata     cost_center=4711",
            "Created      2026-11-01 08:30 UTC",
            "Updated      2026-11-02 09:00 UTC",
            "Last used    2026-11-03 09:00 UTC",
        ] == gateway.run("keys", "show", "vk-1").stdout.splitlines()

    def test_a_key_of_the_setting_says_where_it_is_changed(self, gateway):
        """Here it can only be read."""
        gateway.answers("GET", ONE, key_reply(source="setting", prefix="", created_at=None, updated_at=None))

        shown = gateway.run("keys", "show", "vk-1").stdout

        assert "in the setting GATEWAY_VIRTUAL_KEYS, and changed only there" in shown
        assert "Created      not known" in shown

    def test_an_id_is_one_segment_of_the_path(self, gateway):
        """Keys of the setting may have any characters in their ids."""
        gateway.answers("GET", KEYS, page({**RECORD, "id": "a/b é?x"}))
        gateway.answers("GET", f"{KEYS}/a%2Fb%20%C3%A9%3Fx", key_reply())

        assert 0 == gateway.run("keys", "show", "a/b é?x").exit_code

    @pytest.mark.parametrize("key_id", ["", " ", ".", ".."])
    def test_what_cannot_be_an_id_is_a_usage_error(self, gateway, key_id):
        """It would be another path."""
        shown = gateway.run("keys", "show", key_id)

        assert 2 == shown.exit_code
        assert [] == gateway.received

    @pytest.mark.parametrize(
        "answer", [{}, {"virtual_key": None}, {"virtual_key": {"id": 7, "name": "x"}}, key_reply(expires_at="soon")]
    )
    def test_an_answer_that_is_not_a_key_is_an_error(self, gateway, answer):
        """Some other server answers, or another version."""
        gateway.answers("GET", ONE, answer)

        shown = gateway.run("keys", "show", "vk-1")

        assert 1 == shown.exit_code
        assert "The response is not the gateway's" in shown.stderr


class TestFindByName:
    """Every command that takes a key takes its id or its name."""

    KEYS_OF_TEAMS = page(
        {**RECORD, "id": "vk-1", "name": "Team A"},
        {**RECORD, "id": "vk-2", "name": "Team B"},
        {**RECORD, "id": "vk-3", "name": "Team B"},
        {**RECORD, "id": "team-c", "name": "vk-c"},
        {**RECORD, "id": "vk-5", "name": "team-c"},
    )

    @pytest.mark.parametrize(("reference", "key_id"), [("Team A", "vk-1"), ("team-c", "team-c"), ("vk-9", "vk-9")])
    def test_a_key_is_found_by_its_name_or_id(self, gateway, reference, key_id):
        """An id comes before a name."""
        gateway.answers("GET", KEYS, self.KEYS_OF_TEAMS)
        gateway.answers("DELETE", f"{KEYS}/{key_id}", Reply(204, b""))

        assert f"Deleted {key_id}.\n" == gateway.run("keys", "delete", reference, "--yes").stderr

    def test_a_name_of_several_keys_is_an_error_with_their_ids(self, gateway):
        """Which one is meant is not guessed."""
        gateway.answers("GET", KEYS, self.KEYS_OF_TEAMS)

        assert [
            "Error: 2 keys have the name 'Team B'.",
            "Give the id of one of them: vk-2, vk-3",
        ] == failed(gateway.run("keys", "delete", "Team B", "--yes"))

    def test_an_unknown_name_is_an_error_with_one_that_is_close(self, gateway):
        """Only the exact name is taken."""
        gateway.answers("GET", KEYS, self.KEYS_OF_TEAMS)

        assert [
            "Error: No key has the id or name 'team a'.",
            "Did you mean 'Team A'? This command lists all keys: image-gateway keys list",
        ] == failed(gateway.run("keys", "usage", "team a"))
