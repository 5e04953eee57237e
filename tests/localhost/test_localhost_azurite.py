"""Starting Azurite: what it says is read, and what does not start is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from localhost import azurite

if TYPE_CHECKING:
    from pathlib import Path


def program(path: Path, script: str) -> Path:
    """A program that stands in for Azurite."""
    file = path / "azurite"
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    return file


def test_the_addresses_are_those_it_says(tmp_path) -> None:
    """Each service listens on a port that was free, and the connection string names all three."""
    said = "\n".join(
        f'echo "Azurite {service} service is successfully listening at http://127.0.0.1:{port}"'
        for service, port in (("Blob", 41), ("Queue", 42), ("Table", 43))
    )
    started = azurite.start(program(tmp_path, f"echo Hello.\n{said}\nexec cat"))
    started.stop()
    assert started.process.returncode is not None
    assert started.connection_string.endswith(
        ";BlobEndpoint=http://127.0.0.1:41/devstoreaccount1;QueueEndpoint=http://127.0.0.1:42/devstoreaccount1"
        ";TableEndpoint=http://127.0.0.1:43/devstoreaccount1"
    )


def test_it_ends_before_it_listens(tmp_path) -> None:
    """What it said is told."""
    with pytest.raises(RuntimeError, match=r"Azurite did not start: No more ports\."):
        azurite.start(program(tmp_path, 'echo "No more ports." >&2; exit 1'))


def test_it_is_not_installed(tmp_path) -> None:
    """That is an OSError, as for every program."""
    with pytest.raises(FileNotFoundError):
        azurite.start(tmp_path / "azurite")
