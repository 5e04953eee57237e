"""Values of options are read strictly, and a wrong one is refused with the right forms."""

from __future__ import annotations

import pytest
import typer

from cli import options


@pytest.mark.parametrize(
    ("text", "limit", "window"),
    [
        ("20/1h", 20, "1h"),
        ("20/h", 20, "1h"),
        ("20/hour", 20, "1h"),
        ("60/1m", 60, "1m"),
        ("60/Minute", 60, "1m"),
        (" 500/7days ", 500, "7d"),
        ("1/30s", 1, "30s"),
    ],
)
def test_a_rate_is_a_count_in_a_window(text, limit, window):
    """`20/1h` is at most 20 in any hour; units may be words."""
    assert {"limit": limit, "window": window} == options.parse_rate(text)


@pytest.mark.parametrize(
    "text", ["abc", "", "20", "20/", "/1h", "-1/1h", "0/1h", "1.5/1h", "20/0h", "20/1y", "20/1h/1h", "٢٠/1h", "1e3/1h"]
)
def test_anything_else_than_a_rate_is_refused_with_examples(text):
    """Nothing is guessed: a limit that is misread does not limit."""
    with pytest.raises(typer.BadParameter, match="is not COUNT/WINDOW, such as 20/1h"):
        options.parse_rate(text)


def test_a_rate_for_each_minute_is_a_whole_number():
    """`10` images per minute."""
    assert {"limit": 10, "window": "1m"} == options.parse_per_minute("10")


@pytest.mark.parametrize("text", ["0", "-3", "1.5", "ten", "", "²"])
def test_anything_else_than_a_count_is_refused(text):
    """Zero, signs, fractions and words are no counts."""
    with pytest.raises(typer.BadParameter, match="is not a whole number of 1 or more"):
        options.parse_per_minute(text)


@pytest.mark.parametrize(
    ("text", "usd", "window"),
    [
        ("50/month", 50, "month"),
        ("0.5/DAY", 0.5, "day"),
        ("12.345678901/week", 12.345678901, "week"),
        ("9/total", 9, "total"),
    ],
)
def test_a_budget_is_us_dollars_in_a_window(text, usd, window):
    """`50/month` is fifty dollars in a calendar month."""
    assert {"usd": usd, "window": window} == options.parse_budget(text)


def test_whole_dollars_are_whole_in_json():
    """50 is sent as 50, not as 50.0."""
    assert "50" == str(options.parse_budget("50.0/month")["usd"])


@pytest.mark.parametrize(
    "text",
    [
        "50/fortnight",
        "50",
        "/month",
        "-5/month",
        "0/month",
        "0.00/month",
        "50,00/month",
        "1e3/day",
        "inf/day",
        "nan/day",
        "$50/month",
    ],
)
def test_anything_else_than_a_budget_is_refused_with_the_windows(text):
    """The message lists what there is."""
    with pytest.raises(typer.BadParameter, match="the windows are day, week, month, total"):
        options.parse_budget(text)


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2027-01-01", "2027-01-01T00:00:00Z"),
        ("2027-01-01T12:30", "2027-01-01T12:30:00Z"),
        ("2027-01-01T12:30Z", "2027-01-01T12:30:00Z"),
        ("2027-01-01T01:30+02:00", "2026-12-31T23:30:00Z"),
    ],
)
def test_a_time_without_an_offset_is_utc(text, time):
    """A date is its midnight."""
    assert time == options.parse_time(text)


@pytest.mark.parametrize("text", ["01.02.2027", "tomorrow", "", "2027-13-01", "0001-01-01T00:00+05:00"])
def test_anything_else_than_a_time_is_refused(text):
    """Only ISO 8601: which of 01/02 is the month is not guessed."""
    with pytest.raises(typer.BadParameter, match=r"is not a date|is not within the years"):
        options.parse_time(text)


@pytest.mark.parametrize(
    ("text", "seconds"), [("0", 0), ("90", 90), ("90s", 90), ("30m", 1_800), ("24h", 86_400), ("7D", 604_800)]
)
def test_a_duration_has_a_unit_or_is_seconds(text, seconds):
    """`24h` is a day, `0` is at once."""
    assert seconds == options.parse_seconds(text)


@pytest.mark.parametrize("text", ["-1", "1.5h", "1 h", "soon", "", "1w"])
def test_anything_else_than_a_duration_is_refused(text):
    """A grace time that is misread would leave a stolen key valid."""
    with pytest.raises(typer.BadParameter, match="is not a duration"):
        options.parse_seconds(text)


@pytest.mark.parametrize(
    ("text", "pair"),
    [
        ("cost_center=4711", ("cost_center", "4711")),
        ("a = b=c ", ("a", "b=c")),
        ("Kostenstelle=Ä", ("Kostenstelle", "Ä")),
    ],
)
def test_a_pair_is_split_at_its_first_equals_sign(text, pair):
    """What follows is the value, whatever it has in it."""
    assert pair == options.parse_pair(text)


@pytest.mark.parametrize("text", ["cost_center", "=4711", " =1", ""])
def test_a_pair_needs_a_name_and_an_equals_sign(text):
    """A forgotten value is not an empty one."""
    with pytest.raises(typer.BadParameter, match="is not NAME=VALUE"):
        options.parse_pair(text)


def test_deployments_may_be_given_with_commas_or_one_by_one():
    """Each counts once."""
    assert ["a", "b", "c"] == options.parse_names(["a, b", "c", "a"])


def test_an_empty_deployment_is_refused():
    """`a,,b` is a mistake."""
    with pytest.raises(typer.BadParameter, match="name is empty"):
        options.parse_names(["a,,b"])


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("2026-01", "2026-01-01", "2026-01-31"),
        ("2028-02", "2028-02-01", "2028-02-29"),
        ("2026-01-15", "2026-01-15", "2026-01-15"),
    ],
)
def test_a_month_is_from_its_first_to_its_last_day(text, first, last):
    """A date is itself."""
    assert (first, last) == (options.parse_first_day(text), options.parse_last_day(text))


@pytest.mark.parametrize("text", ["2026-13", "2026-00", "2026", "january", "2026-1", "0000-01"])
def test_anything_else_than_a_date_or_month_is_refused(text):
    """Both forms are shown."""
    with pytest.raises(typer.BadParameter, match="is not a date such as 2026-11-30 or a month such as 2026-11"):
        options.parse_last_day(text)
