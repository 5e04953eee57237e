"""What processes use, as Linux tells it, and how gateways are set up."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

import pytest

from bench.answers import AnswerKind
from bench.gateways import Direct, Gateway, LiteLLM, Portkey, ThisGateway, make_settings
from bench.processes import (
    Cores,
    ProcessEnded,
    ProcessTree,
    find_descendants,
    make_environment,
    parse_busy_ticks,
    parse_memory,
    parse_stat,
    run,
)
from bench.rounds import KINDS

if TYPE_CHECKING:
    from pathlib import Path

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
TICKS = os.sysconf("SC_CLK_TCK")
KIND = AnswerKind(characters=4096)


def test_a_command_may_have_any_name() -> None:
    """Parent and CPU time are found behind a command's name with spaces and parentheses in it."""
    line = f"42 (a) b (c) S 7 42 42 0 -1 4194304 1 2 3 4 {3 * TICKS} {2 * TICKS} 0 0 20 0 1 0 1 2 3"
    assert (7, 5.0) == parse_stat(line)


def test_a_tree_has_grandchildren() -> None:
    """All that a process and its children have started counts, and nothing else."""
    assert {2, 3, 4, 6} == find_descendants(2, {1: 0, 2: 1, 3: 2, 4: 3, 5: 1, 6: 2})


def test_memory_is_told_in_bytes() -> None:
    """Resident memory and its peak are read from a process's status; one that is ending has none."""
    assert {"VmHWM": 2048, "VmRSS": 1024} == parse_memory("Name:\tx\nVmHWM:\t     2 kB\nVmRSS:\t     1 kB\n")
    assert parse_memory("Name:\tx\nState:\tZ (zombie)\n") == {}


def test_waiting_is_not_busy() -> None:
    """What cores do is their work and their interrupts; idling and waiting are not."""
    assert 1 + 2 + 4 + 32 + 64 == parse_busy_ticks("cpu  1 2 4 8 16 32 64 128 0 0\ncpu0 1 2\n")


def test_only_what_programs_need_is_inherited() -> None:
    """Nothing of this shell's settings reaches what is measured."""
    assert {"PATH", "HOME", "LANG", "TMPDIR", "PYENV_ROOT", "ASKED"} >= set(make_environment({"ASKED": "1"}))


def test_one_core_is_not_apart() -> None:
    """Where gateway and load share a core, the figures do not count."""
    assert [False, True] == [Cores(gateway=0, others=0).are_apart, Cores(gateway=0, others=1).are_apart]


@LINUX
def test_a_tree_is_measured_while_it_lives(tmp_path: Path) -> None:
    """A running process has memory and a peak that can be forgotten; it is gone when the block ends."""
    script = "import sys; x = bytearray(50_000_000); del x; print('there', flush=True); sys.stdin.read()"
    core = Cores.of_this_machine().gateway
    command = [sys.executable, "-c", f"{script}; import signal; signal.pause()"]
    with run(command, core=core, log=tmp_path / "log") as process:
        while "there" not in process.read_log():
            process.check()
        tree = process.tree
        assert tree.peak_bytes() > tree.resident_bytes() + 40_000_000
        tree.reset_peak()
        assert tree.peak_bytes() < tree.resident_bytes() + 10_000_000
        assert tree.cpu_seconds() >= 0
    assert ProcessTree(tree.root).resident_bytes() == 0


@LINUX
def test_an_early_end_is_told(tmp_path: Path) -> None:
    """A process that ends by itself is an error that holds what it said."""
    command = [sys.executable, "-c", "raise SystemExit('no such thing')"]
    with run(command, core=Cores.of_this_machine().gateway, log=tmp_path / "log") as process:
        process.popen.wait()
        with pytest.raises(ProcessEnded, match="status 1; it said:\nno such thing"):
            process.check()


def test_the_gateway_is_set_up_as_in_production() -> None:
    """Every deployment has its family, and three targets with keys of their own."""
    settings = make_settings(8080, KINDS)
    deployments = json.loads(settings["GATEWAY_CATALOGUE"])["deployments"]
    assert {kind.deployment for kind in KINDS} < set(deployments)
    for deployment in deployments.values():
        assert deployment["family"]
        assert len({target["endpoint"] for target in deployment["targets"]}) == 3
        assert {"env:KEY_0", "env:KEY_1", "env:KEY_2"} == {target["api_key"] for target in deployment["targets"]}


def test_two_checkouts_get_the_same_settings(tmp_path: Path) -> None:
    """Another checkout is started in its own folder, as this one is but for the settings that are asked for."""
    this = ThisGateway(settings={"GATEWAY_MORE": "1"}).prepare_start(1, 2, KINDS)
    other = ThisGateway("baseline", "the other", tmp_path).prepare_start(1, 2, KINDS)
    assert this.command == other.command
    assert this.env == {**other.env, "GATEWAY_MORE": "1"}
    assert other.cwd == tmp_path


@pytest.mark.parametrize("gateway", [Direct(), ThisGateway(), LiteLLM(), Portkey()], ids=lambda each: each.name)
def test_all_are_asked_for_the_same(gateway: Gateway) -> None:
    """Prompt, size and quality are the same for all; a stream and several images are asked for in Azure's words."""
    plain, several, stream = (
        json.loads(request.body)
        for request in (
            gateway.make_request(KIND),
            gateway.make_request(KIND, images=4),
            gateway.make_request(KIND, partials=1),
        )
    )
    direct = json.loads(Direct().make_request(KIND).body)
    for name in ("prompt", "size", "quality"):
        assert direct[name] == plain[name] == several[name] == stream[name]
    assert (None, 4, True, 1) == (plain.get("n"), several["n"], stream["stream"], stream["partial_images"])


def test_litellm_knows_each_deployment() -> None:
    """Every deployment that is asked for is a model of its configuration, on the bench's upstream."""
    models = LiteLLM().make_config("http://127.0.0.1:1", KINDS)["model_list"]
    assert isinstance(models, list)
    assert [kind.deployment for kind in KINDS] == [model["model_name"] for model in models]
    assert {"http://127.0.0.1:1"} == {model["litellm_params"]["api_base"] for model in models}


def test_portkey_is_told_where_to_go() -> None:
    """Portkey's callers name the upstream on loopback themselves."""
    portkey = Portkey()
    portkey.prepare_start(1, 8080, [KIND])
    assert portkey.make_request(KIND).headers["x-portkey-custom-host"] == "http://127.0.0.1:8080/openai"
