"""What is installed: every package and data file, the entry points, and versions that do not crash."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterable
from configparser import ConfigParser
from importlib.metadata import entry_points, requires, version
from importlib.resources import files
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
in_checkout = pytest.mark.skipif(not (ROOT / "mdcompiler").is_dir(), reason="needs the checkout")

# The folders that are packages, by the name under which they are installed.
SOURCE_FOLDERS = {"mdcompiler": "mdcompiler", "mdcompiler.passes": "passes", "mdcompiler.backends": "backends"}


def _config() -> ConfigParser:
    config = ConfigParser(interpolation=None)
    config.read(ROOT / "setup.cfg")
    return config


def _listed_packages() -> list[str]:
    return _config()["options"]["packages"].split()


def _packages_on_disk(name: str, folder: Path) -> Iterable[str]:
    yield name
    for child in sorted(folder.iterdir()):
        if child.is_dir() and not child.is_symlink() and (child / "__init__.py").is_file():
            yield from _packages_on_disk(f"{name}.{child.name}", child)


def _data_on_disk() -> set[str]:
    """Installed path of every file in the source folders that is data, not code."""
    found = set()
    for package, folder in SOURCE_FOLDERS.items():
        prefix = package.replace(".", "/")
        for pattern in ("*.yaml", "*.json", "*.c", "*.h", "py.typed"):
            found |= {f"{prefix}/{path.relative_to(ROOT / folder)}" for path in (ROOT / folder).rglob(pattern)}
    return found


@in_checkout
def test_setup_lists_every_package_on_disk() -> None:
    on_disk = {name for package, folder in SOURCE_FOLDERS.items() for name in _packages_on_disk(package, ROOT / folder)}
    assert sorted(_listed_packages()) == sorted(on_disk)


@in_checkout
@pytest.mark.parametrize("link", ["passes", "backends"])
def test_links_show_the_installed_tree(link: str) -> None:
    path = ROOT / "mdcompiler" / link
    assert not path.is_symlink() or path.readlink() == Path("..") / link


@in_checkout
def test_lock_file_obeys_setup() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = dict(line.lower().replace("_", "-").split("==") for line in lines if "==" in line)
    for text in requires("mdcompiler") or []:
        requirement = Requirement(text)
        if requirement.name == "mdcompiler":
            continue
        name = requirement.name.lower().replace("_", "-")
        assert name in pinned, f"constraints.txt lacks {name}"
        assert requirement.specifier.contains(pinned[name]), f"constraints.txt has {name} {pinned[name]}"


@in_checkout
@pytest.mark.slow
def test_wheel_holds_packages_data_and_licence(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--wheel-dir", str(tmp_path), str(_copy_of_sources(tmp_path))], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {f"{package.replace('.', '/')}/__init__.py" for package in _listed_packages()} <= names
    assert _data_on_disk() <= names
    assert any(name.endswith("/LICENSE") for name in names)
    assert {name.split("/")[0] for name in names} == {"mdcompiler", f"mdcompiler-{version('mdcompiler')}.dist-info"}


def _copy_of_sources(folder: Path) -> Path:
    """The files of a build, copied: a build in the checkout would leave its own folder behind."""
    copy = folder / "sources"
    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in ("mdcompiler", "passes", "backends"):
        shutil.copytree(ROOT / name, copy / name, symlinks=True, ignore=ignore)
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE", "MANIFEST.in"):
        shutil.copy(ROOT / name, copy / name)
    return copy


def test_package_data_is_installed() -> None:
    root = files("mdcompiler")
    assert (root / "py.typed").is_file()
    assert (root / "targets" / "null.yaml").is_file()
    assert (root / "spec" / "zoo" / "mobiledet-cpu.yaml").is_file()
    runtime = {item.name for item in (root / "backends" / "clib" / "runtime").iterdir()}
    assert {Path(name).suffix for name in runtime} >= {".c", ".h"}


def test_command_is_installed() -> None:
    (command,) = entry_points(group="console_scripts", name="mdc")
    assert callable(command.load())


def test_ffi_is_held_below_the_crash() -> None:
    """apache-tvm-ffi 0.1.15 kills the process; see tests/test_packaging_tvm.py."""
    (pin,) = [r for r in map(Requirement, requires("mdcompiler") or []) if r.name == "apache-tvm-ffi"]
    assert pin.specifier.contains("0.1.14.post1")
    assert not pin.specifier.contains("0.1.15.post2")
    assert pin.specifier.contains(version("apache-tvm-ffi"))
