"""A headless Chromium for tests of pages, driven by playwright; where there is none, tests say so and are skipped."""

import shutil
from dataclasses import dataclass, field

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 360, "height": 740}


@pytest.fixture(scope="module")
def browser():
    """The browser, shared by the tests of a module."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install 'hgm[dev]'")
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip(f"needs a browser, one of {', '.join(NAMES)}: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield running
        running.close()


@dataclass
class Tab:
    """A page that was opened, everything that it asked the network for, and all that it complained of."""

    page: object
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def posterior(self):
        """The page's own beliefs, ``[v][s]``; ``None`` if what is seen is impossible."""
        return self.page.evaluate(
            """() => explorer.messages()?.b.map((log) => {
                 const p = Array.from(log, Math.exp), sum = p.reduce((a, x) => a + x, 0);
                 return p.map((x) => x / sum);
               }) ?? null"""
        )


@pytest.fixture
def open_page(browser, tmp_path):
    """Open a page of `hgm.explore`; whatever it complains of fails the test at its end."""
    tabs = []

    def open_page(page, size=DESKTOP, scheme="light"):
        path = tmp_path / f"{len(tabs)}.html"
        page.save(path)
        tab = Tab(browser.new_page(viewport=size, color_scheme=scheme))
        tab.page.on("request", lambda request: tab.requests.append(request.url))
        tab.page.on("console", lambda message: tab.complaints.append(message.text))
        tab.page.on("pageerror", lambda error: tab.complaints.append(str(error)))
        tab.page.goto(path.as_uri())
        tabs.append(tab)
        return tab

    yield open_page
    for tab in tabs:
        tab.page.close()
        assert tab.complaints == []
