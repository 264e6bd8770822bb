"""The files that a repository's visitors and machines read agree with the code, and with one another."""

from __future__ import annotations

import configparser
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
FORMS = sorted(path for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml") if path.stem != "config")
PAGES = ("SECURITY.md", "CODE_OF_CONDUCT.md", "CONTRIBUTING.md", ".github/PULL_REQUEST_TEMPLATE.md")


def read(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def number(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


@pytest.fixture(scope="module")
def jobs() -> dict[str, Any]:
    found: dict[str, Any] = read(".github/workflows/tests.yml")["jobs"]
    return found


def test_the_tests_run_on_every_python_that_the_package_names(jobs: dict[str, Any]) -> None:
    pattern = r"Programming Language :: Python :: (3\.\d+)"
    named = [match[1] for text in PROJECT["project"]["classifiers"] if (match := re.fullmatch(pattern, text))]
    assert jobs["tests"]["strategy"]["matrix"]["python"] == named
    assert PROJECT["project"]["requires-python"] == f">={named[0]}" and named == sorted(named, key=number)
    assert PROJECT["tool"]["mypy"]["python_version"] == named[0]
    assert PROJECT["tool"]["ruff"]["target-version"] == f"py{named[0].replace('.', '')}"


def test_one_job_takes_the_lowest_versions_of_all_dependencies(jobs: dict[str, Any]) -> None:
    commands = [step["run"] for step in jobs["lowest"]["steps"] if "run" in step]
    (install,) = [command for command in commands if "lowest-direct" in command]
    match = re.search(r"\.\[([\w,]+)\]", install)
    assert match is not None
    extras = match[1].split(",")
    optional = PROJECT["project"]["optional-dependencies"]
    needed = [*PROJECT["project"]["dependencies"], *(item for extra in extras for item in optional[extra])]
    assert all(re.search(r"[>=]=", item) for item in needed), "a dependency without a bound would get its first release"
    (lowest,) = [s["with"]["python-version"] for s in jobs["lowest"]["steps"] if "python-version" in s.get("with", {})]
    assert PROJECT["project"]["requires-python"] == f">={lowest}"


def test_commands_of_the_workflow_are_those_of_the_makefile(jobs: dict[str, Any]) -> None:
    commands = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    targets = [command.split()[1] for command in commands if command.startswith("make ")]
    assert targets == ["test", "lint"] and all(f"\n{target}:" in MAKEFILE for target in targets)
    assert "-m pytest -q -n 2 --dist loadfile --no-loadscope-reorder" in commands[-1]
    assert "-m pytest -q -n 2 --dist loadfile --no-loadscope-reorder" in MAKEFILE
    assert read(".github/workflows/tests.yml")["permissions"] == {"contents": "read"}


def test_hooks_before_a_commit_are_what_make_lint_runs() -> None:
    (repository,) = read(".pre-commit-config.yaml")["repos"]
    assert repository["repo"] == "local" and {hook["language"] for hook in repository["hooks"]} == {"system"}
    entries = [hook["entry"].replace(" --force-exclude", "") for hook in repository["hooks"]]
    recipe = MAKEFILE.split("\nlint:")[1].split("\n\n")[0].splitlines()[1:]
    assert entries == [line.strip().replace("$(BIN)", ".venv/bin").removesuffix(" .") for line in recipe]


@pytest.mark.parametrize("form", FORMS, ids=lambda path: path.stem)
def test_issue_forms_are_ones_that_the_site_can_show(form: Path) -> None:
    content = yaml.safe_load(form.read_text(encoding="utf-8"))
    assert {"name", "description", "body"} <= content.keys() <= {"name", "description", "body", "labels", "title"}
    fields = [item for item in content["body"] if item["type"] != "markdown"]
    assert {item["type"] for item in content["body"]} <= {"markdown", "input", "textarea", "dropdown", "checkboxes"}
    assert len({item["id"] for item in fields}) == len(fields) and all(item["attributes"]["label"] for item in fields)
    assert any(item.get("validations", {}).get("required") for item in fields)


def test_the_citation_is_of_this_package() -> None:
    citation, project = read("CITATION.cff"), PROJECT["project"]
    assert {"cff-version", "message", "title", "authors"} <= citation.keys() and citation["cff-version"] == "1.2.0"
    assert (str(citation["version"]), citation["license"]) == (project["version"], project["license"])
    assert citation["title"].startswith(project["name"])
    owners = re.search(r"Copyright \(c\) \d+ (.*)", (ROOT / "LICENSE").read_text(encoding="utf-8"))
    assert owners is not None and citation["authors"] == [{"name": owners[1]}]


def test_editors_are_told_the_width_that_ruff_enforces() -> None:
    parser = configparser.ConfigParser()
    parser.read_string("[top]\n" + (ROOT / ".editorconfig").read_text(encoding="utf-8"))
    assert parser["top"]["root"] == "true" and parser["Makefile"]["indent_style"] == "tab"
    assert parser["*.py"]["max_line_length"] == str(PROJECT["tool"]["ruff"]["line-length"])


@pytest.mark.parametrize("page", PAGES)
def test_files_and_commands_that_the_pages_name_exist(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    assert all((ROOT / page).parent.joinpath(link).exists() for link in links)
    for target in re.findall(r"`make ([\w-]+)`", text):
        assert f"\n{target}:" in MAKEFILE
