"""`keys update`, `keys rotate`, `keys delete`: changes, each to the key as it was read."""

from __future__ import annotations

import pytest

from tests.cli.fake import KEY, Reply, error, key_reply

KEYS = "/api/governance/virtual-keys"
ONE = f"{KEYS}/vk-1"
HOUR = {"limit": 20, "window": "1h"}
MINUTE = {"limit": 60, "window": "1m"}


class TestUpdate:
    """`keys update`."""

    def test_only_what_is_named_is_sent_with_the_etag_that_was_read(self, gateway):
        """Nobody else's change is undone."""
        gateway.answers("GET", ONE, key_reply(etag="abc"))
        gateway.answers("PUT", ONE, key_reply(name="Team B"))

        shown = gateway.run("keys", "update", "vk-1", "--name", "Team B", "--deactivate")

        assert {"name": "Team B", "active": False} == gateway.sent("PUT")
        assert '"abc"' == gateway.received[-1].headers["if-match"]
        assert "Name         Team B" in shown.stdout

    def test_limits_and_notes_are_joined_with_those_that_are_there(self, gateway):
        """The API takes each field whole."""
        gateway.answers(
            "GET", ONE, key_reply(rate_limit={"images": HOUR, "requests": None}, metadata={"a": "1", "b": "2"})
        )
        gateway.answers("PUT", ONE, key_reply())

        gateway.run("keys", "update", "vk-1", "--requests", "60/1m", "--metadata", "b=3")

        assert {
            "rate_limit": {"images": HOUR, "requests": MINUTE},
            "metadata": {"a": "1", "b": "3"},
        } == gateway.sent("PUT")

    def test_what_is_removed_goes_first(self, gateway):
        """`--no-limits --images 20/1h` leaves one limit."""
        gateway.answers("GET", ONE, key_reply(rate_limit={"images": None, "requests": MINUTE}, metadata={"a": "1"}))
        gateway.answers("PUT", ONE, key_reply())

        gateway.run(
            *("keys", "update", "vk-1", "--no-limits", "--images", "20/1h", "--no-budget", "--no-expiry"),
            *("--no-metadata", "--metadata", "b=2", "--activate"),
        )

        assert {
            "rate_limit": {"images": HOUR},
            "budget": None,
            "expires_at": None,
            "metadata": {"b": "2"},
            "active": True,
        } == gateway.sent("PUT")

    def test_a_lost_race_shows_what_has_changed_and_says_to_try_again(self, gateway):
        """Nothing was written, and nobody is left wondering why."""
        gateway.answers("GET", ONE, key_reply(), key_reply(name="Team B", budget={"usd": 5, "window": "day"}))
        gateway.answers("PUT", ONE, error(412, "etag_mismatch", "It has been changed"))

        shown = gateway.run("keys", "update", "vk-1", "--deactivate")

        assert 1 == shown.exit_code
        assert "" == shown.stdout
        assert [
            "The key is no longer as it was read:",
            "Name    Team A -> Team B",
            "Budget  none -> 5 USD/day",
            "Error: Somebody else has changed this key in the meantime, so nothing was written (etag_mismatch).",
            "Run the command again to change the key as it is now.",
        ] == shown.stderr.splitlines()

    def test_nothing_to_change_is_a_usage_error(self, gateway):
        """Somebody forgot an option."""
        shown = gateway.run("keys", "update", "vk-1")

        assert 2 == shown.exit_code
        assert "say what to change" in shown.stderr
        assert [] == gateway.received


class TestRotate:
    """`keys rotate`."""

    @pytest.mark.parametrize(
        ("arguments", "seconds"), [([], 86_400), (["--grace", "0"], 0), (["--grace", "30m"], 1_800)]
    )
    def test_the_old_secret_counts_for_a_grace_time(self, gateway, arguments, seconds):
        """A day, if nothing else is said."""
        gateway.answers("POST", f"{ONE}/rotate", {**key_reply(), "key": KEY})

        shown = gateway.run("keys", "rotate", "vk-1", *arguments)

        assert {"grace_seconds": seconds} == gateway.sent("POST")
        assert f"  {KEY}" in shown.stdout.splitlines()

    def test_an_answer_without_a_key_is_an_error(self, gateway):
        """The new secret is lost, and that must be known."""
        gateway.answers("POST", f"{ONE}/rotate", key_reply())

        shown = gateway.run("keys", "rotate", "vk-1")

        assert 1 == shown.exit_code
        assert "it has no key." in shown.stderr


class TestDelete:
    """`keys delete`."""

    def test_it_asks_by_name_and_deletes_what_was_shown(self, gateway):
        """And only that: the ETag is the one that was read."""
        gateway.answers("GET", ONE, key_reply(etag="abc"))
        gateway.answers("DELETE", ONE, Reply(204, b""))

        shown = gateway.run("keys", "delete", "vk-1", input="y\n")

        assert "Delete the key vk-1 of Team A? [y/N]:" in shown.stderr
        assert "Deleted vk-1.\n" in shown.stderr
        assert ('"abc"', 0) == (gateway.received[-1].headers["if-match"], shown.exit_code)

    @pytest.mark.parametrize(
        ("answer", "message"), [("n\n", "Nothing was deleted"), ("\n", "Nothing was deleted"), ("", "give --yes")]
    )
    def test_anything_but_yes_deletes_nothing(self, gateway, answer, message):
        """Neither does a script without an answer."""
        gateway.answers("GET", ONE, key_reply())

        shown = gateway.run("keys", "delete", "vk-1", input=answer)

        assert (1, ["GET"]) == (shown.exit_code, [request.method for request in gateway.received])
        assert message in shown.stderr

    def test_a_name_in_the_question_cannot_control_the_terminal(self, gateway):
        """It is what somebody typed."""
        gateway.answers("GET", ONE, key_reply(name="x\x1b[2K\rDelete nothing"))

        assert "x�[2K�Delete nothing?" in gateway.run("keys", "delete", "vk-1", input="n\n").stderr

    def test_with_yes_nothing_is_asked(self, gateway):
        """For scripts."""
        gateway.answers("DELETE", ONE, Reply(204, b""))

        shown = gateway.run("keys", "delete", "vk-1", "--yes")

        assert (0, ["DELETE"]) == (shown.exit_code, [request.method for request in gateway.received])
