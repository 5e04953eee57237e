"""The zip that is deployed: what is in it, and that it runs by itself."""

from __future__ import annotations

import fnmatch
import os
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import distribution
from importlib.util import MAGIC_NUMBER
from typing import TYPE_CHECKING

import pytest
from packaging.requirements import Requirement

from bench import starts
from tests.cold_start.conftest import needs_worker
from tools.package import PROJECT, install, make, unpacked_start
from tools.packing import APP, PACKAGES, CannotPackage, add_byte_code, copy_app, drop_scripts, write_zip

if TYPE_CHECKING:
    from pathlib import Path

UNCHECKED_HASH = (1).to_bytes(4, "little")
"""The flags of byte code whose source is not looked at (PEP 552)."""
SMALL_APP = (*(name for name in APP if name not in {"core", "adapters"}), "core/gateway.py", "adapters/bootstrap.py")
"""An app as small as can be."""


def required() -> set[str]:
    """The names of all packages that requirements.in brings, itself and through others."""
    lines = (PROJECT / "requirements.in").read_text().splitlines()
    waiting = [Requirement(text) for line in lines if (text := line.partition("#")[0].strip())]
    found: set[str] = set()
    seen: set[str] = set()
    while waiting:
        requirement = waiting.pop()
        if str(requirement) in seen or not applies(requirement):
            continue
        seen.add(str(requirement))
        found.add(requirement.name)
        for extra in ("", *requirement.extras):
            needs = [Requirement(text) for text in distribution(requirement.name).requires or ()]
            waiting += [need for need in needs if applies(need, extra)]
    return found


def applies(requirement: Requirement, extra: str = "") -> bool:
    """Whether a requirement is one here, for an extra of the package that has it."""
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy what pip would install for the app from where these tests run."""
    target = tmp_path_factory.mktemp("packages")
    for name in required():
        for file in distribution(name).files or ():
            if ".." not in file.parts and file.suffix != ".pyc":
                (target / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file.locate(), target / file)
    return target


@pytest.fixture(scope="module")
def archive(packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the package."""
    archive = tmp_path_factory.mktemp("dist") / "gateway.zip"
    make(archive, packages)
    return archive


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Make a project with nothing in its files."""
    for name in SMALL_APP:
        write(tmp_path / "project" / name)
    return tmp_path / "project"


def write(path: Path, text: str = "") -> Path:
    """Write a file, and the folders that it lies in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def files_in(folder: Path) -> set[str]:
    """All files of a folder."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


# ------------------------------------------------------------------------------------------------ the whole package


@pytest.mark.slow
@needs_worker
def test_it_runs_by_itself(archive: Path, tmp_path: Path) -> None:
    """Unpacked, with nothing else to import from, it is indexed and answers its first call."""
    with starts.run_emulator() as upstream:
        start = unpacked_start(archive, tmp_path, upstream=upstream)
    assert {"http"} <= set(start.functions)
    assert start.answered is not None


def test_what_is_in_it(archive: Path) -> None:
    """The app and its packages are in it, and nothing else of the project."""
    with zipfile.ZipFile(archive) as packed:
        names = packed.namelist()
    first = {name.partition("/")[0] for name in names}
    assert {*APP, PACKAGES.parts[0], "__pycache__"} == first
    assert [] == [name for name in names if "local.settings" in name or name.startswith(f"{PACKAGES}/bin/")]


def test_byte_code(archive: Path) -> None:
    """Every module has byte code of this very Python, which is taken without a look at the source."""
    with zipfile.ZipFile(archive) as packed:
        names = set(packed.namelist())
        heads = {name: packed.read(name)[:8] for name in names if name.endswith(".pyc")}
    tag = sys.implementation.cache_tag
    expected = set()
    for name in names:
        folder, _, module = name.rpartition("/")
        if module.endswith(".py"):
            expected.add(f"{folder}/__pycache__/{module[:-3]}.{tag}.pyc".removeprefix("/"))
    assert expected == set(heads)
    assert {MAGIC_NUMBER + UNCHECKED_HASH} == set(heads.values())


# ------------------------------------------------------------------------------------------------ choosing files


def test_only_the_app_is_copied(project: Path, tmp_path: Path) -> None:
    """What is not the app, and in the app's folders all but modules, stays behind."""
    for name in (
        "core/secret.pem",
        "core/prices.json",
        "adapters/.env.local",
        "venv/x.py",
        "env/x.py",
        ".env",
        "local.settings.json",
        "tests/test_x.py",
        "core/__pycache__/gateway.pyc",
        "core/.env",
        ".git/config",
    ):
        write(project / name)
    (project / "core" / "link.py").symlink_to(project / "local.settings.json")
    copy_app(project, tmp_path / "stage")
    assert {*SMALL_APP} == files_in(tmp_path / "stage")


def test_other_files_that_are_wanted(project: Path, tmp_path: Path) -> None:
    """A file that a setting names can be taken along, at its place."""
    write(project / "catalogues" / "all.json", "{}")
    copy_app(project, tmp_path / "stage", ["catalogues/all.json"])
    assert "catalogues/all.json" in files_in(tmp_path / "stage")


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("local.settings.json", "may hold secrets"),
        ("local.settings.test.json", "may hold secrets"),
        (".env", "may hold secrets"),
        ("catalogue.pem", "may hold secrets"),
        ("nowhere.json", "is no file of this project"),
        ("core", "is no file of this project"),
        ("../secret.json", "is no file of this project"),
    ],
)
def test_other_files_that_are_refused(project: Path, tmp_path: Path, name: str, why: str) -> None:
    """Secrets, files of elsewhere and what is not there are refused, with the reason."""
    for each in ("local.settings.json", "local.settings.test.json", ".env", "../secret.json"):
        write(project / each)
    with pytest.raises(CannotPackage, match=why):
        copy_app(project, tmp_path / "stage", [name])


def test_core_tools_deploy_the_same() -> None:
    """What `.funcignore` lets through is what the package holds, and the licence."""
    patterns = (PROJECT / ".funcignore").read_text().split()
    there = {path.name + "/" * path.is_dir() for path in PROJECT.iterdir()}
    taken = {name.rstrip("/") for name in there if not any(fnmatch.fnmatch(name, each) for each in patterns)}
    assert {*APP, "LICENSE"} == taken


# ------------------------------------------------------------------------------------------------ packing


def test_the_same_files_are_the_same_bytes(tmp_path: Path) -> None:
    """Neither the time nor the place at which it is made shows in a package."""
    archives = []
    for place, time in (("one", 1_000_000_000), ("another", 1_700_000_000)):
        stage = tmp_path / place
        for name in ("b.py", "a/deep/c.py", "a/d.txt", ".hidden/e.py"):
            path = write(stage / name, "LETTERS = {'a', 'b', 'c'}\ndef say(x): return x in {'d', 'e', 'f'}\n")
            os.utime(path, (time, time))
        add_byte_code(stage)
        assert 7 == write_zip(stage, tmp_path / f"{place}.zip")
        archives.append((tmp_path / f"{place}.zip").read_bytes())
    assert archives[0] == archives[1]


def test_byte_code_that_came_along_is_replaced(tmp_path: Path) -> None:
    """Byte code of another Python, or of a module that is gone, is thrown away."""
    write(tmp_path / "a.py", "")
    for name in ("a.cpython-310.pyc", "gone.cpython-313.pyc"):
        write(tmp_path / "__pycache__" / name)
    add_byte_code(tmp_path)
    assert {"a.py", f"__pycache__/a.{sys.implementation.cache_tag}.pyc"} == files_in(tmp_path)


def test_a_module_that_cannot_be_compiled(tmp_path: Path) -> None:
    """A module with a fault in it makes no package; it is named."""
    write(tmp_path / "broken.py", "def (:\n")
    with pytest.raises(CannotPackage, match=r"broken\.py"):
        add_byte_code(tmp_path)


def test_commands_are_left_out(tmp_path: Path) -> None:
    """Commands that come with packages are dropped; where there are none that is no fault."""
    write(tmp_path / "bin" / "uvicorn", "#!/home/somebody/python\n")
    drop_scripts(tmp_path)
    drop_scripts(tmp_path)
    assert set() == files_in(tmp_path)


# ------------------------------------------------------------------------------------------------ the command


def test_another_python() -> None:
    """Made with another Python than the app runs on, there is no package, but a word on what to do."""
    command = [sys.executable, "-m", "tools.package", "--python", "3.10"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert (1, "") == (done.returncode, done.stdout)
    assert done.stderr.startswith("The package is for Python 3.10, and this is CPython 3.")
    assert "make package FOR_PYTHON=3." in done.stderr


def test_packages_that_cannot_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where pip finds a package nowhere, its words are passed on."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(CannotPackage, match="No matching distribution"):
        install(tmp_path, f"{sys.version_info.major}.{sys.version_info.minor}")
