"""From the app and a folder of packages to the zip that is deployed: the same files, always the same bytes.

Byte code is made with *unchecked hashes* (PEP 552): Python then looks neither at the source nor at its time, which a
zip does not keep faithfully. It counts for one minor version of Python only, the one that makes it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

APP: Final = ("function_app.py", "host.json", "openapi.json", "requirements.txt", "core", "adapters")
"""What is the app; nothing else of the project is deployed."""
PACKAGES: Final = PurePosixPath(".python_packages/lib/site-packages")
"""Where the Functions worker looks for an app's packages."""
IN_AZURE: Final = "/home/site/wwwroot"
"""Where the app lies in Azure; it stands in the byte code, for tracebacks."""

_KEY_FILES: Final = frozenset({".pem", ".key", ".pfx", ".p12"})
_SCRIPTS: Final = "bin"
"""Where pip puts commands. They name the Python of the machine that built them, and nobody calls them in Azure."""
_EARLIEST: Final = (1980, 1, 1, 0, 0, 0)
"""The earliest time that a zip can say."""


class CannotPackage(Exception):
    """There will be no package; the message says why, and what to do."""


def copy_app(project: Path, stage: Path, others: Iterable[str] = ()) -> None:
    """Copy the app, and other files beside it that a setting names. Raises CannotPackage."""
    for name in (*APP, *(_harmless(project, other) for other in others)):
        for file in _files(project / name):
            if (project / name).is_dir() and file.suffix != ".py":
                continue  # a key, a dump, an editor's copy: the app's own folders hold modules only
            target = stage / file.relative_to(project)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)


def _harmless(project: Path, name: str) -> str:
    if PurePosixPath(name).name.startswith((".", "local.settings")) or PurePosixPath(name).suffix in _KEY_FILES:
        raise CannotPackage(f"{name} may hold secrets and is not deployed: put them into the app settings")
    path = (project / name).resolve()
    if not path.is_file() or not path.is_relative_to(project.resolve()):
        raise CannotPackage(f"{name} is no file of this project: give its path as it stands beside function_app.py")
    return name


def add_byte_code(stage: Path) -> None:
    """Compile every module for the Python that runs this, in the place of any byte code that is there."""
    for cache in [*stage.rglob("__pycache__")]:
        shutil.rmtree(cache)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "compileall", "-q"),
            *("--invalidation-mode", "unchecked-hash"),
            *("-s", str(stage), "-p", IN_AZURE, str(stage)),
        ],
        env={**os.environ, "PYTHONHASHSEED": "0"},  # for the order of sets that are constants
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise CannotPackage(f"A module cannot be compiled:\n{done.stdout}{done.stderr}")


def write_zip(stage: Path, archive: Path) -> int:
    """Write all files of a folder into a zip, the same files as the same bytes; give their number."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    files = {file.relative_to(stage).as_posix(): file for file in _files(stage, hidden=True)}
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, _EARLIEST)
            entry.create_system = 3  # Unix, so that the mode counts
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            packed.writestr(entry, files[name].read_bytes())
    return len(files)


def _files(path: Path, *, hidden: bool = False) -> Iterator[Path]:
    """The files at a path, sorted; no links and, unless asked, neither byte code nor what begins with a dot."""
    if path.is_file():
        yield path
        return
    for each in sorted(path.iterdir()):
        if each.is_symlink() or (not hidden and (each.name.startswith(".") or each.name == "__pycache__")):
            continue
        yield from _files(each, hidden=hidden)


def drop_scripts(packages: Path) -> None:
    """Take away the commands that came with packages."""
    shutil.rmtree(packages / _SCRIPTS, ignore_errors=True)
