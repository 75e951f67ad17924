"""The site of the documentation: its links lead somewhere, it fetches nothing, and it tells of every public name."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import upscale_onnx
from tests.documented.programs import FOLDER, load

FETCHED = re.compile(r"<(?:script|img|iframe|link(?=[^>]*stylesheet))\b[^>]*(?:src|href)=\"?(?:https?:)?//[^>]*>")

for _module in ("zensical", "mkdocstrings_handlers.python"):
    pytest.importorskip(_module, reason=f"{_module} is not installed: the extra 'docs'")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built pages."""
    folder = tmp_path_factory.mktemp("docs")
    done = subprocess.run([sys.executable, FOLDER / "site.py", folder], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "site"


def test_pages_fetch_nothing(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 10
    assert [(page.name, found) for page in pages for found in FETCHED.findall(page.read_text(encoding="utf-8"))] == []


def test_the_reference_tells_of_every_public_name(site: Path) -> None:
    page = (site / "docs" / "reference.html").read_text(encoding="utf-8")
    told = set(re.findall(r'<h2 id="upscale_onnx\.(\w+)"', page))
    assert told == set(upscale_onnx.__all__)
    assert "<li><code>amount</code>: fraction of each" in page, "fields are no list"
    assert "<p>Differences from the reference:</p>\n<ul>" in page, "a list behind a line is none"
    assert "<blockquote" not in page, "examples are quotations"


def test_a_link_that_leads_nowhere_ends_the_build(tmp_path: Path) -> None:
    pages = tmp_path / "pages"
    pages.mkdir()
    (pages / "other.md").write_text("# Other\n", encoding="utf-8")
    settings = "site_name: x\ndocs_dir: pages\nuse_directory_urls: false\n"
    (tmp_path / "mkdocs.yml").write_text(settings, encoding="utf-8")
    program = load("site")
    ends = {}
    for link in ("other.md#other", "missing.md", "other.md#missing", "missing.csv"):
        (pages / "index.md").write_text(f"# Home\n\n[there]({link})\n", encoding="utf-8")
        ends[link] = program.build(tmp_path)
    assert ends.pop("other.md#other") == 0
    assert 0 not in ends.values()


def test_a_page_outside_of_the_navigation_is_named(tmp_path: Path) -> None:
    program = load("site")
    program.lay_out(tmp_path / "docs")
    pages = tmp_path / "docs" / "pages"
    assert program.not_in_navigation(pages) == []
    (pages / "docs" / "forgotten.md").write_text("# Forgotten\n", encoding="utf-8")
    assert program.not_in_navigation(pages) == ["docs/forgotten.md"]
