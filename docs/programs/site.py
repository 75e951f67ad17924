"""Build the documentation as a site of HTML pages that fetch nothing: `python docs/programs/site.py [FOLDER]`.

The pages are laid out in FOLDER/pages as they lie in the repository, so that links between them and to files hold in
both. FOLDER/site has the result. Ends with 1 if a link leads nowhere, or a page is not in the navigation.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

import yaml

ROOT = Path(__file__).resolve().parents[2]
LINK = re.compile(r'\b(?:href|src)="([^"#?]+)')
CONFIGURATION = ROOT / "docs" / "mkdocs.yml"
PARTS = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE", "models/README.md", "docs")


def main() -> int:
    """Build the site; the exit code."""
    parser = argparse.ArgumentParser(description="build the documentation as a site")
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "build" / "docs", help="where to build it")
    folder = parser.parse_args().folder.resolve()
    lay_out(folder)
    left_out = not_in_navigation(folder / "pages")
    if left_out:
        print(f"docs/mkdocs.yml: nav lacks {', '.join(left_out)}", file=sys.stderr)
        return 1
    return build(folder)


def lay_out(folder: Path) -> None:
    """Copy the configuration and the pages, with all files beside them, to `folder`."""
    shutil.rmtree(folder, ignore_errors=True)
    for part in PARTS:
        source, target = ROOT / part, folder / "pages" / part
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", CONFIGURATION.name))
        else:
            shutil.copy(source, target)
    shutil.copy(CONFIGURATION, folder)


def not_in_navigation(pages: Path) -> list[str]:
    """The Markdown files under `pages` that no entry of the navigation names."""
    named = set(_names(yaml.safe_load(CONFIGURATION.read_text(encoding="utf-8"))["nav"]))
    return sorted({page.relative_to(pages).as_posix() for page in pages.rglob("*.md")} - named)


def _names(entry: object) -> list[str]:
    if isinstance(entry, str):
        return [entry]
    inner = entry.values() if isinstance(entry, dict) else entry
    return [name for part in inner for name in _names(part)]  # type: ignore[attr-defined]


def build(folder: Path) -> int:
    """Run the generator in `folder`; the exit code. It reads docstrings of this checkout, whatever is installed."""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    program = str(Path(sys.executable).with_name("zensical"))
    command = (program, "build", "--strict", "--config-file", str(folder / CONFIGURATION.name))
    code = subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": path}).returncode
    dead = dead_links(folder / "site") if code == 0 else []
    for link in dead:
        print(link, file=sys.stderr)
    return code or int(bool(dead))


def dead_links(site: Path) -> list[str]:
    """The links of the pages under `site` to files that are not there: the generator looks at those to pages alone."""
    found = []
    for page in sorted(set(site.rglob("*.html")) - {site / "404.html"}):  # that one is shown at any address
        links = {
            unquote(link) for link in LINK.findall(page.read_text(encoding="utf-8")) if not any(urlsplit(link)[:2])
        }
        missing = sorted(link for link in links if not (page.parent / link).is_file())
        found += [f"{page.relative_to(site)}: no file {link}" for link in missing]
    return found


if __name__ == "__main__":
    sys.exit(main())
