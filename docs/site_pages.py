"""Build the documentation site: every page and file that a reader reaches by links from the README.

    python docs/site_pages.py [FOLDER]    # default: site/

Pages stay where they are in this repository, so that the same links work in an editor and on the site. A link to a file
that does not exist, or to a heading that no page has, is an error.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LINK = re.compile(r"\]\(([^)\s#]+)(?:#[^)]*)?\)")
FENCES = re.compile(r"```.*?```", re.DOTALL)
CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)
PAGES = ["README.md", "docs/reference.md", "docs/choosing.md", "SECURITY.md", "CODE_OF_CONDUCT.md"]
"""Where the search for links begins."""


def links(page: Path) -> Iterator[str]:
    """Yield the relative targets of a page's links, without headings; links in code do not count."""
    for target in LINK.findall(CODE.sub("", page.read_text(encoding="utf-8"))):
        if "://" not in target and not target.startswith("mailto:"):
            yield target


def reachable() -> tuple[set[Path], list[str]]:
    """Return all files that links lead to, relative to the repository, and one line for each broken link."""
    found, open_pages, broken = set[Path](), [ROOT / page for page in PAGES], list[str]()
    while open_pages:
        page = open_pages.pop()
        if page.relative_to(ROOT) in found:
            continue
        found.add(page.relative_to(ROOT))
        if page.suffix != ".md":
            continue
        for target in links(page):
            path = (page.parent / target).resolve()
            path = path / "README.md" if path.is_dir() and (path / "README.md").is_file() else path
            if not path.exists() or ROOT not in path.parents:
                broken.append(f"{page.relative_to(ROOT)}: no file {target}")
            elif path.is_file():
                open_pages.append(path)
    return found, broken


def assemble(folder: Path) -> None:
    """Copy all reachable files to a folder; the README becomes its first page.

    :raises SystemExit: when a link leads nowhere.
    """
    found, broken = reachable()
    if broken:
        raise SystemExit("\n".join(broken))
    for path in found:
        target = folder / ("index.md" if path == Path("README.md") else path)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".md":
            target.write_text(_page(path), encoding="utf-8")
        else:
            shutil.copyfile(ROOT / path, target)


def _page(path: Path) -> str:
    """Return a page's text with its links to folders written out, and those to the README to the first page."""

    def written(match: re.Match[str]) -> str:
        target = match.group(1)
        full = (ROOT / path.parent / target).resolve()
        if full == ROOT / "README.md":
            return match.group(0).replace(target, target.replace("README.md", "index.md"))
        if full.is_dir() and ROOT in full.parents and (full / "README.md").is_file():
            return match.group(0).replace(target, target.rstrip("/") + "/README.md")
        return match.group(0)

    return LINK.sub(written, (ROOT / path).read_text(encoding="utf-8"))


def build(output: Path) -> None:
    """Build the site, strictly: a warning is an error."""
    with tempfile.TemporaryDirectory() as temporary:
        source = Path(temporary) / "pages"
        assemble(source)
        config = Path(temporary) / "mkdocs.yml"
        text = (ROOT / "docs" / "mkdocs.yml").read_text(encoding="utf-8")
        text = text.replace("DOCSTRINGS", str(ROOT / "docs" / "docstrings.py"))
        config.write_text(text + f"\ndocs_dir: {source}\nsite_dir: {output.resolve()}\n", encoding="utf-8")
        command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--config-file", str(config)]
        subprocess.run(command, check=True, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"})


if __name__ == "__main__":
    build(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "site")
