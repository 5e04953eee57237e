"""`python -m tools.package [FILE …]`: make dist/gateway.zip, the app with its packages and byte code, ready to run.

It is for deploying without a build in Azure. Packages are those of requirements.txt for Linux on x86-64, so it can be
built on any machine, but only by the minor version of Python that the app runs on: it makes the byte code, and pip
reads the markers of requirements with it.
"""

from __future__ import annotations

import argparse
import platform
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final

from bench import starts
from bench.figures import Spread
from tools.packing import PACKAGES, CannotPackage, add_byte_code, copy_app, drop_scripts, write_zip

if TYPE_CHECKING:
    from collections.abc import Sequence

PROJECT: Final = Path(__file__).parents[1]
ARCHIVE: Final = PROJECT / "dist" / "gateway.zip"
PLATFORMS: Final = ("manylinux2014_x86_64", *(f"manylinux_2_{minor}_x86_64" for minor in range(17, 29)))
"""Linux with glibc 2.28 or later; the images of the Functions host are Debian 11 (2.31) and later."""
RUNS: Final = 7
MIB: Final = 1 << 20


def make(archive: Path, packages: Path, others: Sequence[str] = ()) -> int:
    """Make the zip of the project and a folder of packages; give the number of its files. Raises CannotPackage."""
    with tempfile.TemporaryDirectory() as directory:
        stage = Path(directory)
        copy_app(PROJECT, stage, others)
        shutil.copytree(packages, stage / PACKAGES)
        drop_scripts(stage / PACKAGES)
        add_byte_code(stage)
        return write_zip(stage, archive)


def check_python(wanted: str) -> None:
    """Raises CannotPackage unless this is the wanted minor version of CPython."""
    this = f"{sys.version_info.major}.{sys.version_info.minor}"
    if this != wanted or platform.python_implementation() != "CPython":
        raise CannotPackage(
            f"The package is for Python {wanted}, and this is {platform.python_implementation()} {this}: byte code is "
            f"good only for the version that makes it. Run this with Python {wanted}, or, if the app runs on {this}, "
            f"say so: make package FOR_PYTHON={this}"
        )


def install(packages: Path, python: str) -> None:
    """Have pip put the packages of requirements.txt into a folder, for Azure's platform. Raises CannotPackage."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"),
            *("--target", str(packages), "--implementation", "cp", "--python-version", python),
            *(f"--platform={each}" for each in PLATFORMS),
            *("--only-binary=:all:", "--requirement", str(PROJECT / "requirements.txt")),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise CannotPackage(f"pip cannot install the packages:\n{done.stderr}")


def unpacked_start(archive: Path, directory: Path, *, upstream: str | None = None) -> starts.Start:
    """Unpack a package and start Microsoft's worker with it: nothing else can be imported but Python's own modules.

    Raises StartFailed.
    """
    app, worker = directory / "app", directory / "worker"
    if not app.exists():
        library = starts.find_worker_library()
        shutil.copytree(library, worker / library.name)
        with zipfile.ZipFile(archive) as packed:
            packed.extractall(app)
    path = f"{app / PACKAGES}:{worker}"
    variables = {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    return starts.start(app, upstream=upstream, options=["-S"], variables=variables)


def cost(archive: Path) -> str:
    """The CPU time until the worker listens, run from the unpacked package; or why it cannot be had here."""
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        return "is measured on Linux on x86-64 only, which the package is for"
    try:
        starts.find_worker_library()
    except starts.StartFailed as failure:
        return f"cannot be measured: {failure}"
    found = measured(archive)
    return f"{found.middle:.0f} ms of CPU time, median of {RUNS} ({found.least:.0f} to {found.most:.0f})"


def measured(archive: Path) -> Spread:
    """The CPU times in ms of several starts from the unpacked package. Raises StartFailed."""
    with tempfile.TemporaryDirectory() as directory:
        found = [unpacked_start(archive, Path(directory)).listening.cpu_ms for _ in range(RUNS + 1)]
    times = found[1:]  # the first one finds nothing in the disk's cache
    return Spread(middle=median(times), least=min(times), most=max(times))


def main() -> int:
    """Make the package and say what it weighs and costs."""
    parser = argparse.ArgumentParser(prog="python -m tools.package", description=__doc__)
    parser.add_argument("--python", default="3.13", metavar="3.13", help="the version of Python that the app runs on")
    parser.add_argument("files", nargs="*", metavar="FILE", help="to be packed, too, such as a catalogue")
    options = parser.parse_args()
    try:
        check_python(options.python)
        with tempfile.TemporaryDirectory() as directory:
            install(Path(directory), options.python)
            files = make(ARCHIVE, Path(directory), options.files)
        print(f"{ARCHIVE.relative_to(PROJECT)}: {ARCHIVE.stat().st_size / MIB:.1f} MiB, {files:,} files")
        print(f"Worker import: {cost(ARCHIVE)}")
    except (CannotPackage, starts.StartFailed) as failure:
        print(failure, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
