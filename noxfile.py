"""The project's checks. ``nox`` runs all of them, ``nox -s tests`` the tests; ``nox -l`` lists them.

Every session works on the built package in an environment of its own, so that what is tested is
what gets installed.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nox

nox.needs_version = ">=2025.5.1"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.error_on_external_run = True
nox.options.reuse_venv = "yes"
nox.options.sessions = ["lint", "typing", "tests", "docs", "package"]

PYPROJECT = nox.project.load_toml("pyproject.toml")
ACME = "docs/examples/levada-acme"


def group(name: str) -> list[str]:
    """Return the requirements of a dependency group."""
    return list(nox.project.dependency_groups(PYPROJECT, name))


def starts(python: str) -> bool:
    """Return whether an interpreter is there and starts; pyenv's shims are there and may not."""
    path = shutil.which(python)
    if path is None:
        return False
    return subprocess.run([path, "-c", ""], check=False, capture_output=True).returncode == 0  # noqa: S603


def installed_pythons() -> list[str]:
    """Return the supported Pythons that this machine has, those of pyenv included.

    A missing one is left out here, because under ``CI=true`` nox fails on it.
    """
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    ours = f"{sys.version_info.major}.{sys.version_info.minor}"
    found = []
    for version in nox.project.python_versions(PYPROJECT):
        for home in () if starts(f"python{version}") else pyenv.glob(f"{version}.*/bin"):
            os.environ["PATH"] = f"{home}{os.pathsep}{os.environ['PATH']}"
        if version == ours or starts(f"python{version}"):
            found.append(version)
    return found


PYTHONS = installed_pythons()

WAITING = str((os.cpu_count() or 1) + 1)
"""How many tests to run at once where they mostly wait: for time-outs, disks and processes."""

DOCS = ("tests/docs", "docs", "README.md")
"""The examples: enough for the Pythons between the oldest, which gets everything, and the newest."""


@nox.session
def lint(session: nox.Session) -> None:
    """Check the formatting, the code, which module imports which, and the workflows."""
    session.install("-e", ".", *group("lint"))
    session.run("ruff", "format", "--check")
    session.run("ruff", "check")
    session.run("lint-imports")
    session.run("zizmor", "--offline", "--persona=pedantic", "--no-progress", ".github/workflows")


@nox.session
def typing(session: nox.Session) -> None:
    """Check all types strictly, and that the public ones are complete."""
    session.install(".", *group("typing"))
    session.run("mypy")
    session.run("pyright", "--ignoreexternal", "--verifytypes", "levada")


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run the tests and the examples in the documentation; arguments go to pytest.

    Without arguments the oldest Python gets all tests, the newest those of the core.
    """
    session.install(".", *group("tests"))
    if session.posargs:
        session.run("pytest", "-n", "auto", *session.posargs)
        return
    if session.python in {PYTHONS[0], PYTHONS[-1]}:
        chosen = "tests" if session.python == PYTHONS[0] else "tests/core"
        session.run("pytest", "-n", "auto", "--dist=worksteal", chosen)
    session.run("pytest", "-n", "auto", *DOCS)  # the examples of a page build on each other


@nox.session
def coverage(session: nox.Session) -> None:
    """Run the tests and tell what they do not reach; takes half as long again."""
    session.install(".", *group("tests"))
    session.run("coverage", "erase")
    session.run("coverage", "run", "-m", "pytest", "-n", "auto", *session.posargs)
    session.run("coverage", "combine", "--quiet")
    session.run("coverage", "report")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation; a broken reference is an error."""
    session.install(".", *group("docs"))
    session.run("sphinx-build", "-W", "-n", "--keep-going", "-q", "docs", "docs/_build/html")


@nox.session
def sbom(session: nox.Session) -> None:
    """List what is installed with the package, as CycloneDX JSON in the session's cache."""
    bill = session.cache_dir.resolve() / "sbom.cdx.json"
    installed = Path(session.create_tmp(), "installed").resolve()
    session.install("pip", *group("sbom"))
    session.run("python", "-m", "venv", "--clear", "--without-pip", str(installed))
    python = str(installed / "bin" / "python")
    session.run("python", "-m", "pip", "--python", python, "install", "--quiet", ".")
    session.run(
        *("cyclonedx-py", "environment", "--output-reproducible", "--of", "JSON"),
        *("--pyproject", "pyproject.toml", "--output-file", str(bill), python),
    )
    session.log(f"the list is {bill}")


@nox.session
def package(session: nox.Session) -> None:
    """Build and inspect the package, then let a third party's plugin work beside it."""
    dist = session.cache_dir.resolve() / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    session.install(*group("package"))
    session.run("python", "-m", "build", "--outdir", str(dist), silent=True)
    session.run("twine", "check", "--strict", *map(str, dist.iterdir()))
    (wheel,) = dist.glob("*.whl")
    session.run("check-wheel-contents", str(wheel))
    session.install("--force-reinstall", str(wheel), f"./{ACME}")
    session.run("levada", "--version")
    session.run("levada", "plugins")
    session.chdir(ACME)
    session.run("pytest", "-q")


@nox.session
def faults(session: nox.Session) -> None:
    """Run what meets more faults and more crashes than the tests do; takes minutes."""
    session.install(".", *group("tests"))
    session.run(
        *("pytest", "-m", "faults and not nightly", "-n", WAITING, "--dist=worksteal"),
        *session.posargs,
        "tests",
    )


@nox.session
def root(session: nox.Session) -> None:
    """Take a disk's power away under running pipelines; skipped without root or loop devices."""
    session.install(".", *group("tests"))
    session.run("pytest", "-m", "root", "-n", "auto", "--dist=load", *session.posargs, "tests")


@nox.session
def nightly(session: nox.Session) -> None:
    """Kill pipelines at hundreds of moments, make up thousands of inputs; takes half an hour."""
    session.install(".", *group("tests"))
    session.run("pytest", "-m", "nightly", "-n", "auto", "--dist=load", *session.posargs, "tests")
