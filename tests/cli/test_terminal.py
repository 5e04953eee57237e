"""What a terminal of 80 columns is sent, and what a pipe gets: the command line as its own process."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer
from rich.cells import cell_len

from cli.app import app
from tests.cli.fake import KEY, PNG, RECORD, TOKEN, Reply, completed, partial, run, stream

pty = pytest.importorskip("pty", reason="terminals of this kind are POSIX's")

KEYS = "/api/governance/virtual-keys"
IMAGES = "/openai/openai/deployments/gpt-image-2/images/generations"
ROOT = Path(__file__).parents[2]
LONG = {
    **RECORD,
    "id": "vk-019341f3c0005f2a9c1e",
    "name": "Marketing · Köln 🎨 " * 9,
    "deployments": ["gpt-image-2-in-sweden-central-with-a-long-name", "gpt-image-1.5"],
    "rate_limit": {"images": {"limit": 20, "window": "1h"}, "requests": {"limit": 60, "window": "1m"}},
    "budget": {"usd": 50, "window": "month"},
    "expires_at": "2999-01-01T00:00:00Z",
}
STYLES = re.compile(r"\x1b\[([0-9;]*)m")


def environment(gateway, **variables):
    """The environment of the command, without this shell's say about colours."""
    ours = {"GATEWAY_URL": gateway.url, "GATEWAY_ADMIN_TOKEN": TOKEN, "TERM": "xterm-256color"}
    kept = {
        name: value
        for name, value in os.environ.items()
        if not any(word in name for word in ("COLOR", "TERM", "TTY", "TMUX"))
    }
    return {**kept, **ours, **variables}


def on_a_terminal(gateway, *arguments, columns=80, answer=b"", **variables):
    """What a terminal is sent. It answers the question what it can show with `answer`."""
    ours, theirs = pty.openpty()
    env = environment(gateway, COLUMNS=str(columns), LINES="24", **variables)
    shown = b""
    with subprocess.Popen(
        [sys.executable, "-m", "cli", *arguments], cwd=ROOT, env=env, stdout=theirs, stderr=theirs, stdin=theirs
    ):
        os.close(theirs)
        for piece in _pieces(ours):
            shown += piece
            if piece.endswith(b"\x1b[c"):
                os.write(ours, answer)
    os.close(ours)
    return shown.decode().replace("\r\n", "\n")


def _pieces(terminal):
    while True:
        try:
            piece = os.read(terminal, 65_536)
        except OSError:  # Linux's way to say that the other side is closed
            return
        if not piece:
            return
        yield piece


def piped(gateway, *arguments, **variables):
    """What a pipe gets."""
    return subprocess.run(
        [sys.executable, "-m", "cli", *arguments],
        cwd=ROOT,
        env=environment(gateway, **variables),
        capture_output=True,
        check=False,
    )


def test_a_table_fits_into_80_columns_and_loses_nothing(gateway):
    """Ids are whole, so that they can be copied; the rest goes on in the next line."""
    gateway.answers("GET", KEYS, {"virtual_keys": [LONG], "next_cursor": None})

    shown = STYLES.sub("", on_a_terminal(gateway, "keys", "list"))

    assert 80 >= max(map(cell_len, shown.splitlines()))
    assert "vk-019341f3c0005f2a9c1e" in shown
    assert 9 == shown.count("🎨")


def test_a_key_is_in_one_piece_however_narrow_the_terminal_is(gateway):
    """A line break in it would be copied along."""
    gateway.answers("POST", KEYS, {"virtual_key": LONG, "key": KEY})

    assert KEY in on_a_terminal(gateway, "keys", "create", "--name", "x", columns=20)


@pytest.mark.parametrize("command", [["keys", "list"], ["doctor"]])
def test_errors_are_red_and_no_color_leaves_only_bold(gateway, command):
    """`NO_COLOR` (no-color.org)."""
    coloured = on_a_terminal(gateway, *command, GATEWAY_URL="x")
    plain = on_a_terminal(gateway, *command, GATEWAY_URL="x", NO_COLOR="1")

    assert "1;31" in STYLES.findall(coloured)
    assert {"1", "0"} == set(STYLES.findall(plain))


def test_a_pipe_gets_no_styles_and_whole_lines(gateway):
    """Whatever the terminal's width is."""
    gateway.answers("GET", KEYS, {"virtual_keys": [LONG], "next_cursor": None})

    lines = piped(gateway, "keys", "list", COLUMNS="20").stdout.decode().splitlines()

    assert 3 == len(lines)
    assert "\x1b" not in "".join(lines)
    assert not any(line.endswith(" ") for line in lines)


def test_characters_that_an_encoding_lacks_are_replaced(gateway):
    """An old terminal shows less, but shows it."""
    gateway.answers("GET", KEYS, {"virtual_keys": [LONG], "next_cursor": None})

    ended = piped(gateway, "keys", "list", PYTHONIOENCODING="ascii")

    assert 0 == ended.returncode
    assert b"Marketing ? K?ln ?" in ended.stdout


def test_a_token_is_all_that_a_shell_catches(gateway):
    """`export GATEWAY_ADMIN_TOKEN=$(python -m cli token --role admin)`."""
    settings = {"GATEWAY_JWT_SECRET": "s" * 32, "GATEWAY_JWT_ISSUER": "i", "GATEWAY_JWT_AUDIENCE": "a"}

    ended = piped(gateway, "token", "--role", "admin", **settings)

    assert re.fullmatch(rb"[\w-]+\.[\w-]+\.[\w-]+\n", ended.stdout)
    assert b"" == ended.stderr


def test_a_person_is_told_whose_token_it_is_and_until_when(gateway):
    """On stderr, which a shell does not catch."""
    settings = {"GATEWAY_JWT_SECRET": "s" * 32, "GATEWAY_JWT_ISSUER": "i", "GATEWAY_JWT_AUDIENCE": "a"}

    assert "A token with the role admin for Zoë, valid until" in on_a_terminal(
        gateway, "token", "--role", "admin", "--sub", "Zoë", **settings
    )


def commands(group=None, *names):
    """Every command and group of commands."""
    group = group or typer.main.get_command(app)
    yield names
    for name, command in getattr(group, "commands", {}).items():
        yield from commands(command, *names, name)


@pytest.mark.parametrize("command", list(commands()), ids=" ".join)
def test_every_help_fits_into_80_columns_and_has_an_example(command):
    """It needs no gateway and no token."""
    shown = run(*command, "--help", env={"COLUMNS": "80", "GATEWAY_URL": "x"})

    assert shown.stdout.startswith(" ".join(["Usage: image-gateway", *command]))
    assert 80 >= max(map(cell_len, shown.stdout.splitlines()))
    assert f"Examples:\n    {' '.join(['image-gateway', *command])}" in shown.stdout


def test_a_shell_completes_commands():
    """`image-gateway keys u` and the tab key."""
    asks = {"_IMAGE_GATEWAY_COMPLETE": "complete_bash", "COMP_WORDS": "image-gateway keys u", "COMP_CWORD": "2"}

    assert ["update", "usage"] == run(env=asks).stdout.split()


def test_the_version_is_the_projects():
    """`pyproject.toml` has the same."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert f"image-gateway {project['version']}\n" == run("--version").stdout


class TestDraw:
    """`draw` on a terminal."""

    DRAW = ("draw", "a fox", "-d", "gpt-image-2", "--output")

    @pytest.mark.parametrize(
        ("answer", "variables", "protocol"),
        [
            (b"\x1b_Gi=31;OK\x1b\\\x1b[?62c", {}, "\x1b_Ga=T,f=100,"),
            (b"\x1b[?62;4;22c", {}, "\x1bP0;1q"),
            (b"\x1b[?62;22c", {}, "▀"),
            (b"", {"TERM_PROGRAM": "iTerm.app"}, "\x1b]1337;File="),
        ],
        ids=["kitty", "sixel", "blocks", "iterm2"],
    )
    def test_the_terminal_is_asked_what_it_can_show(self, gateway, tmp_path, answer, variables, protocol):
        """It answers without showing anything; the image stands above its path."""
        gateway.answers("POST", IMAGES, stream(partial(PNG), completed(PNG)))

        shown = on_a_terminal(gateway, *self.DRAW, str(tmp_path / "fox.png"), answer=answer, **variables)

        image, path = shown.rindex(protocol), shown.index("fox.png")
        assert image < path
        assert PNG == (tmp_path / "fox.png").read_bytes()

    def test_progress_and_unfinished_images_are_shown_and_removed(self, gateway, tmp_path):
        """With the elapsed time."""
        gateway.answers("POST", IMAGES, stream(partial(PNG), completed(PNG)))

        shown = on_a_terminal(gateway, *self.DRAW, str(tmp_path / "fox.png"), "--show", "blocks")

        assert re.search(
            r"(Waiting for gpt-image-2|Generating with gpt-image-2, got unfinished image 1), \d\.\d s", shown
        )
        assert shown.rindex("\x1b[2K") < shown.index("fox.png")
        assert "\x1b[?25h" in shown

    def test_without_colors_there_is_no_image(self, gateway, tmp_path):
        """`NO_COLOR`: half blocks without colors show nothing."""
        gateway.answers("POST", IMAGES, stream(completed(PNG)))
        path = str(tmp_path / "fox.png")

        assert "▀" not in on_a_terminal(gateway, *self.DRAW, path, answer=b"\x1b[?62;22c", NO_COLOR="1")


def test_the_state_of_a_job_is_shown_while_it_is_waited_for(gateway):
    """With the elapsed time; it is removed in the end."""
    job = {"id": "5f2a", "deployment": "gpt-image-2", "created_at": "2026-11-22T21:01:00Z"}
    gateway.answers("POST", IMAGES, Reply(202, {**job, "status": "queued"}))
    ended = {**job, "status": "succeeded", "answer": {"data": []}}
    gateway.answers("GET", "/jobs/5f2a", ended)

    shown = on_a_terminal(gateway, "jobs", "submit", "-d", "gpt-image-2", "--prompt", "a fox", "--wait")

    assert re.search(r"The job 5f2a is waiting to start, 0\.\d s", shown)
    assert "State       succeeded" in STYLES.sub("", shown)


def test_a_fast_command_shows_no_progress(gateway):
    """Nothing flickers."""
    gateway.answers("GET", KEYS, {"virtual_keys": [LONG], "next_cursor": None})

    assert "Waiting" not in on_a_terminal(gateway, "keys", "list")


def test_a_reader_that_leaves_ends_the_command_quietly(gateway):
    """`keys list | head -1`."""
    gateway.answers("GET", KEYS, {"virtual_keys": [LONG] * 2_000, "next_cursor": None})
    with subprocess.Popen(
        [sys.executable, "-m", "cli", "keys", "list", "--json"],
        cwd=ROOT,
        env=environment(gateway),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        process.stdout.readline()
        process.stdout.close()
        said = process.stderr.read()

    assert b"" == said
