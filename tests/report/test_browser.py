"""Pages in a real browser: nothing to complain of, the numbers in sight, nothing wider than a phone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from upscale_onnx.cli.main import main

pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")
playwright = pytest.importorskip("playwright.sync_api", reason="needs Playwright, which drives a browser")

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
MODEL = Path(__file__).resolve().parents[2] / "models" / "digits_inception_masked.onnx"
# What a page shows of every number: its path in the JSON, the exact value.
NUMBERS = "nodes => nodes.map(node => [node.dataset.path, node.value])"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium of this system."""
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        pytest.skip(f"needs one of {', '.join(BROWSERS)}")
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Any]]:
    """The page and the JSON of a compile and of a bench."""
    folder = tmp_path_factory.mktemp("pages")
    small = str(folder / "out.onnx")
    commands = {
        "compile": [str(MODEL), small],
        "bench": ["bench", str(MODEL), small, "--budget", "0.2", "--rounds", "7"],
    }
    made = {}
    for name, words in commands.items():
        page, data = folder / f"{name}.html", folder / f"{name}.json"
        assert main([*words, "-q", "--report", str(page), "--json", str(data)]) == 0
        made[name] = page, json.loads(data.read_text(encoding="utf-8"))
    assert main(["inspect", str(MODEL), "-q", "--report", str(folder / "inspect.html")]) == 0
    return made


# Any two of these meet once.
@pytest.mark.parametrize(
    ("kind", "width", "scheme"),
    [("compile", 400, "light"), ("compile", 1400, "dark"), ("bench", 400, "dark"), ("bench", 1400, "light")],
)
def test_a_page_opens(
    browser: Any, written: dict[str, tuple[Path, Any]], kind: str, width: int, scheme: str, tmp_path: Path
) -> None:
    path, content = written[kind]
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(path.as_uri())
    numbers = page.eval_on_selector_all("data", NUMBERS)
    picture = page.screenshot(full_page=True)
    wide = page.evaluate("document.documentElement.scrollWidth")
    page.close()
    assert said == []
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert len(numbers) > 30
    for place, value in numbers:
        assert float(value) == _at(content, place), place
    assert wide == width
    assert len(picture) > 20_000
    assert path.stat().st_size < 2_000_000


def _at(content: Any, path: str) -> Any:
    for part in path.split("."):
        content = content[int(part)] if isinstance(content, list) else content[part]
    return content


def test_a_page_prints(browser: Any, written: dict[str, tuple[Path, Any]]) -> None:
    page = browser.new_page()
    page.goto(written["compile"][0].as_uri())
    printed = page.pdf(format="A4")
    page.close()
    assert printed.startswith(b"%PDF")
    assert len(printed) > 20_000
