"""`bp.report`: the reports of journals, and their page in a browser."""

import asyncio
import re
from base64 import b64decode
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import bulkpresign as bp
from bulkpresign.ledger.report import read_report
from tests.ledger.journals import journal, of_all_kinds

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

#: The tablet is the narrowest window with two columns.
WIDTHS = {"phone": 360, "tablet": 1007, "desktop": 1400}
#: A sheet of A4 without its margins.
PAPER = {"width": 688, "height": 1000, "deviceScaleFactor": 1, "mobile": True}
#: The least contrast of text for WCAG 2.2, level AA.
CONTRAST = 4.5

#: The texts of the page that are not in the window, or too faint or too small to be read.
UNREADABLE = """
const channel = c => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
const light = text => { const [r, g, b] = text.match(/[\\d.]+/g).slice(0, 3).map(n => channel(n / 255));
                        return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
const paper = light(getComputedStyle(document.body).backgroundColor);
const contrast = ink => (Math.max(paper, ink) + 0.05) / (Math.min(paper, ink) + 0.05);
const found = [];
for (const one of document.querySelectorAll("body *")) {
    const own = [...one.childNodes].some(n => n.nodeType === 3 && n.data.trim());
    const style = getComputedStyle(one), box = one.getBoundingClientRect();
    if (!own || !box.width || ["title", "desc"].includes(one.tagName)) continue;
    const color = one.tagName === "text" ? style.fill : style.color;
    const outside = box.left < 0 || box.right > document.documentElement.clientWidth;
    if (outside || contrast(light(color)) < arguments[0] || parseFloat(style.fontSize) < arguments[1])
        found.push([one.tagName, one.textContent.slice(0, 40), box.left, box.right, color, style.fontSize].join(" "));
}
return found;
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two journals beside it."""
    (tmp_path / "data").mkdir()
    of_all_kinds(tmp_path / "data.journal")
    journal(tmp_path / "data.put.journal", [], verb="put")
    return tmp_path / "data"


@pytest.fixture
def page(folder: Path) -> str:
    """The address of the page of the folder."""
    file = folder.with_name("report.html")
    asyncio.run(bp.report(folder, html=file))
    return file.as_uri()


def test_reports(folder: Path) -> None:
    found = asyncio.run(bp.report(folder))
    assert found == [read_report(folder.with_name(f"data{kind}.journal")) for kind in ("", ".put")]
    assert found[0].done > 200
    assert asyncio.run(bp.report(folder, html=folder / "report.html")) == found
    assert (folder / "report.html").stat().st_size > 10_000


def test_bad_arguments(folder: Path) -> None:
    with pytest.raises(bp.JournalError, match="no such journal"):
        asyncio.run(bp.report(folder / "none.journal", html=folder / "none.html"))
    with pytest.raises(bp.ParameterError, match="--html is empty"):
        asyncio.run(bp.report(folder, html=""))
    assert not list(folder.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("window", WIDTHS)
def test_in_a_browser(page: str, browser: "Chrome", window: str, scheme: str) -> None:
    width = WIDTHS[window]
    size = {"width": width, "height": 800, "deviceScaleFactor": 2, "mobile": window == "phone"}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    show(browser, scheme)
    browser.get(page)
    inside, shown = run(browser, "const page = document.documentElement; return [page.scrollWidth, page.clientWidth]")
    assert inside == shown <= width
    assert run(browser, UNREADABLE, CONTRAST, 11) == []
    assert (brightness(browser) > 128) == (scheme == "light")
    assert run(browser, "return performance.getEntriesByType('resource').map(each => each.name)") == []
    assert browser.get_log("browser") == []  # type: ignore[no-untyped-call] # what the policy refuses is written there
    assert run(browser, "return document.querySelectorAll('script').length") == 0
    bars = "return [...document.querySelectorAll('.chart path')].map(each => each.getBoundingClientRect().height)"
    assert len(heights := run(browser, bars)) == 4
    assert min(heights) > 20


@pytest.mark.slow
def test_on_paper(page: str, browser: "Chrome") -> None:
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PAPER)
    show(browser, "dark", "print")
    browser.get(page)
    assert run(browser, "return document.documentElement.scrollWidth") == PAPER["width"]
    assert brightness(browser) == 255
    assert run(browser, UNREADABLE, CONTRAST, 9) == []  # 7 points
    show(browser, "dark")
    printed = b64decode(browser.print_page())
    assert printed.startswith(b"%PDF")
    assert 2 <= len(re.findall(rb"/Type /Page\b", printed)) <= 5


def show(browser: "Chrome", scheme: str, media: str = "") -> None:
    """Tells the browser to prefer a colour scheme, and to show pages as on `media`."""
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": features})


def brightness(browser: "Chrome") -> int:
    """The red of the page's background."""
    found = re.search(r"\d+", run(browser, "return getComputedStyle(document.body).backgroundColor"))
    assert found is not None
    return int(found[0])


def run(browser: "Chrome", script: str, *arguments: object) -> Any:
    return browser.execute_script(script, *arguments)
