"""The wheel holds mtlbench and nothing else, and a third-party package's plugins work beside it."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def test_the_list_of_packages_is_the_folders() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    found = {"mtlbench", "mtlbench.methods", "mtlbench.problems", "mtlbench.tasks"}
    found |= {".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "mtlbench").rglob("__init__.py")}
    assert set(listed) == found


def test_every_suite_and_template_is_package_data() -> None:
    data = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    for file in (ROOT / "mtlbench").rglob("*"):
        if file.is_file() and file.suffix not in (".py", ".pyc"):
            package = ".".join(file.parent.relative_to(ROOT).parts)
            assert any(file.match(pattern) for pattern in data[package]), f"{file} is not installed"


@pytest.mark.parametrize("folder", ["methods", "tasks"])
def test_a_plugin_folder_is_not_imported_a_second_time_under_its_own_name(folder: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"import {folder}"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert f"imported as mtlbench.{folder}" in done.stderr


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with our wheel and sdist, and the wheel of a third-party package with a method and a task."""
    folder = tmp_path_factory.mktemp("dist")
    theirs = tmp_path_factory.mktemp("theirs")
    (theirs / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
        '[project]\nname = "theirs"\nversion = "1.0"\n[tool.setuptools]\npy-modules = ["theirs"]\n'
        '[project.entry-points."mtlbench.methods"]\ntheirs = "theirs"\n'
        '[project.entry-points."mtlbench.tasks"]\ntheirs = "theirs:Echo"\n'
    )
    (theirs / "theirs.py").write_text(
        "from dataclasses import dataclass\nimport numpy as np\nfrom mtlbench import Method, Observation, Task\n"
        '@dataclass\nclass Halved(Method):\n    """Half the sum."""\n    name = "halved"\n    reads = "losses"\n'
        "    def weights(self, seen: Observation):\n        return np.full(seen.tasks, 0.5)\n"
        '@dataclass\nclass Echo(Task):\n    """An echo."""\n    name = "echo"\n'
    )
    for source in (ROOT, theirs):
        subprocess.run(
            [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(source)],
            check=True,
            capture_output=True,
        )
    return folder


def test_the_wheel_holds_mtlbench_only(built: Path) -> None:
    names = zipfile.ZipFile(next(built.glob("mtlbench-*.whl"))).namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"mtlbench"}
    assert {"mtlbench/methods/pcgrad.py", "mtlbench/tasks/sst5.py", "mtlbench/suites/quick.toml"} <= set(names)
    assert next(built.glob("mtlbench-*.tar.gz"))


def test_wheel_and_third_party_plugins_work_installed(built: Path, tmp_path: Path) -> None:
    """Installed into an empty environment that borrows this one's dependencies, run from an empty folder."""
    home = tmp_path / "environment"
    venv.create(home, with_pip=False, symlinks=True)
    site = next((home / "lib").glob("python*/site-packages"))
    for wheel in built.glob("*.whl"):
        zipfile.ZipFile(wheel).extractall(site)
    borrowed = [path for path in sys.path if path.endswith("site-packages")]
    python = home / "bin" / "python"
    code = (
        f"import sys; sys.path += {borrowed!r}\n"
        "import mtlbench, mtlbench.methods, numpy\n"
        f"assert mtlbench.__file__.startswith({str(site)!r}), mtlbench.__file__\n"
        "from mtlbench.plugins.registry import load_registry\nfrom mtlbench.recipe.suite import packaged_suites\n"
        "found = load_registry()\nassert not found.broken, found.broken\n"
        "assert found.method('halved').name == 'halved' and 'echo' in found.tasks and 'pcgrad' in found.methods\n"
        "assert 'theirs' in found.origins[found.methods['halved']]\n"
        "assert 'quick' in packaged_suites()\n"
        "print(mtlbench.weights('halved', numpy.eye(2)))\n"
        "try: import methods\nexcept ImportError: pass\nelse: raise AssertionError('methods is importable')\n"
    )
    done = subprocess.run([str(python), "-I", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[0.5 0.5]"
