"""The pages: no dead link, no dead heading, none unreachable; the tutorial's commands run."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import command_line

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "docs"))
import site_pages  # noqa: E402

TUTORIAL = (ROOT / "docs" / "first_comparison.md").read_text(encoding="utf-8")
COMMANDS = [
    line for block in re.findall(r"^```sh\n(.*?)^```", TUTORIAL, re.DOTALL | re.M) for line in block.splitlines()
]


def anchors(page: Path) -> Iterator[str]:
    """Yield the names of a page's headings, as sites and forges make them."""
    text = site_pages.FENCES.sub("", page.read_text(encoding="utf-8"))
    for heading in re.findall(r"^#+ (.*)$", text, re.M):
        name = re.sub(r"[`*]|\[([^]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
        yield re.sub(r"[^\w\- ]", "", name).replace(" ", "-")


def test_no_link_leads_nowhere() -> None:
    assert site_pages.reachable()[1] == []


def test_every_page_can_be_reached_from_the_readme() -> None:
    found, _ = site_pages.reachable()
    assert (
        sorted(str(page.relative_to(ROOT)) for page in ROOT.glob("docs/*.md") if page.relative_to(ROOT) not in found)
        == []
    )


def test_every_page_of_the_site_exists() -> None:
    config = (ROOT / "docs" / "mkdocs.yml").read_text(encoding="utf-8")
    pages = [page for page in re.findall(r": (\S+\.md)$", config, re.M) if page != "index.md"]
    assert len(pages) > 15
    assert [page for page in pages if not (ROOT / page).is_file()] == []


@pytest.mark.parametrize("page", sorted(page for page in site_pages.reachable()[0] if page.suffix == ".md"), ids=str)
def test_no_link_leads_to_a_heading_that_is_not_there(page: Path) -> None:
    text = site_pages.CODE.sub("", (ROOT / page).read_text(encoding="utf-8"))
    for target, heading in re.findall(r"\]\(([^)\s#]*)#([^)]+)\)", text):
        if "://" not in target:
            other = (ROOT / page).parent / target if target else ROOT / page
            assert heading in set(anchors(other)), f"{target}#{heading}"


def test_the_tutorial_does_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its commands in their order, with 20 steps a cell, fewer rows, seeds and trials."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MTLBENCH_STEPS", "20")
    monkeypatch.setenv("MTLBENCH_PROBLEM", "digits[rows=200,dev_rows=100,width=4]")
    assert [shlex.split(command)[1] for command in COMMANDS] == [
        *("run", "report", "run", "diagnose", "tune", "run", "report")
    ]
    for command in COMMANDS:
        words = shlex.split(command.replace("--seeds 10", "--seeds 4").replace("--trials 4", "--trials 2"))
        done = command_line(*words[1:])
        assert done.returncode == 0 or (words[1] == "diagnose" and done.returncode == 1), done.stderr
        if "--seeds 4" in shlex.join(words):
            assert "9 done" in done.stderr and "3 to run" in done.stderr
    assert "<html" in (tmp_path / "report.html").read_text(encoding="utf-8")
