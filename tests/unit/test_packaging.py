"""The lock against pyproject.toml: what is allowed, what is pinned, and what a lock must not hold."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from cxrnode import __version__

ROOT = Path(__file__).resolve().parents[2]
LOCK = ROOT / "deploy" / "requirements.lock"
TORCH = ROOT / "deploy" / "torch.txt"
_PINNED = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)", re.MULTILINE)
_ENTRY = re.compile(r"^[a-z0-9.-]+==\S+ \\\n(?: {4}--hash=sha256:[0-9a-f]{64}(?: \\)?\n)+", re.MULTILINE)


def project() -> dict[str, object]:
    """Give pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def wanted() -> list[Requirement]:
    """Give everything that pyproject.toml asks for: to run, to develop and to build."""
    tree = project()
    table = tree["project"]
    build = tree["build-system"]["requires"]
    return [Requirement(text) for text in (*table["dependencies"], *table["optional-dependencies"]["dev"], *build)]


def pinned(file: Path) -> dict[str, str]:
    """Give the versions that a file pins, by name."""
    return {canonicalize_name(name): version for name, version in _PINNED.findall(file.read_text(encoding="utf-8"))}


@pytest.mark.parametrize("requirement", wanted(), ids=str)
def test_what_the_project_asks_for_is_pinned_to_a_version_it_allows(requirement: Requirement):
    """A changed pyproject.toml without `make lock` would install what it no longer allows."""
    versions = pinned(LOCK) | pinned(TORCH)
    assert requirement.specifier.contains(versions[canonicalize_name(requirement.name)])


def test_every_locked_package_has_its_hashes():
    """One entry without a hash and the whole lock promises nothing."""
    text = LOCK.read_text(encoding="utf-8")
    rest = re.sub(r"^\s*#.*\n", "", _ENTRY.sub("", text), flags=re.MULTILINE)
    assert pinned(LOCK) and not rest.strip()


def test_the_lock_names_no_index_and_no_place():
    """The lock is for every machine, not for the one that made it."""
    assert not re.search(
        r"://|index-url|find-links|trusted-host| @ |^-", LOCK.read_text(encoding="utf-8"), re.MULTILINE
    )


def test_the_lock_holds_neither_torch_nor_what_only_its_gpu_build_needs():
    """Torch's file differs by accelerator, so it is pinned by version; a CPU machine is spared gigabytes."""
    unwanted = {name for name in pinned(LOCK) if name.startswith(("torch", "triton", "nvidia-", "cuda-"))}
    assert not unwanted
    assert list(pinned(TORCH)) == ["torch"]


def test_the_package_says_the_version_of_the_project():
    """The version is part of what reports state."""
    assert project()["project"]["version"] == __version__


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_alone_prints_the_targets_and_does_nothing_else():
    """A newcomer who types `make` is told what there is."""
    said = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=30).stdout
    targets = re.findall(r"^ +make ([a-z-]+)", said, flags=re.MULTILINE)
    running = ["demo", "test", "test-faults", "fuzz", "soak", "lint"]
    making = ["conformance", "bench", "composing", "backlog", "lock", "audit", "sbom", "clean"]
    assert targets == ["targets", "setup", *running, *making]
