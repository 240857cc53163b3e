"""The site is whole: nothing of its markup shows, no link is dead, and a page asks for nothing beyond the machine."""

import re
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import pytest
from house.site import Read, draw, run, site  # noqa: F401  a fixture
from places import ROOT, needs_checkout
from viz.browser import DESKTOP, PHONE, browser  # noqa: F401  a fixture

pytestmark = [pytest.mark.docs, needs_checkout]
LEFT = re.compile(r"--8<--|\\\(|\\\[|\{\{|\$\$|```|^:::|={5}", re.M)


@pytest.fixture(scope="session")
def pages(site):  # noqa: F811
    """Every page, by its path in the site."""
    return {str(path.relative_to(site)): Read(path) for path in sorted(site.rglob("*.html"))}


@pytest.fixture(scope="module")
def served(site):  # noqa: F811
    """The address of the site."""
    handler = type("Quiet", (SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=site)) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.mark.parametrize(
    "left", ["--8<-- 'a.py'", r"\(x\)", r"\[x\]", "{{ x }}", "```", "::: hgm.infer", "=====  ====="]
)
def test_what_is_looked_for_is_found(left, tmp_path):
    (tmp_path / "a.html").write_text(f"<p>{left}</p>")
    assert LEFT.search(Read(tmp_path / "a.html").text)
    (tmp_path / "a.html").write_text(f"<pre><code>{left}</code></pre><p>prose</p>")
    assert not LEFT.search(Read(tmp_path / "a.html").text)


def test_no_markup_is_left(pages):
    assert len(pages) > 40
    assert {name: found[0] for name, page in pages.items() if (found := LEFT.search(page.text))} == {}


def test_formulas_are_mathml(pages, site):  # noqa: F811
    for name in pages:
        text = (site / name).read_text()
        assert len(re.findall(r'class="arithmatex"><math', text)) == text.count('class="arithmatex"'), name
    assert (site / "concepts.html").read_text().count("<math") > 50


def test_no_link_is_dead(pages, site):  # noqa: F811
    base = "http://site/"
    files = {str(path.relative_to(site)) for path in site.rglob("*") if path.is_file()}
    dead = []
    for name, page in pages.items():
        for link in page.links + page.loads:
            address, anchor = urldefrag(urljoin(base + name, link))
            if name == "404.html" or not address.startswith(base):
                continue
            target = unquote(urlsplit(address).path).removeprefix("/")
            target += "index.html" if target == "" or target.endswith("/") else ""
            if target not in files or (target in pages and unquote(anchor) not in pages[target].anchors):
                dead.append((name, link))
    assert dead == []


def test_pages_load_nothing_from_elsewhere(pages):
    elsewhere = {name: [at for at in page.loads if urlsplit(at).netloc] for name, page in pages.items()}
    assert {name: found for name, found in elsewhere.items() if found} == {}


def test_no_request_leaves_the_machine(pages, served, browser):  # noqa: F811
    tab, asked, failed = browser.new_page(viewport=DESKTOP), [], []
    tab.on("request", lambda request: asked.append(request.url))
    tab.on("response", lambda response: failed.append(response.url) if response.status >= 400 else None)
    for name in pages:
        if name != "404.html":  # made for the root of a server
            tab.goto(served + name, wait_until="load")
    assert len(asked) > len(pages)
    assert [url for url in asked if not url.startswith((served, "data:", "blob:"))] == []
    assert failed == []
    tab.goto(served + "concepts.html")
    assert tab.evaluate("document.fonts.load('16px \"hgm Math\"').then((fonts) => fonts.length)") == 1
    tab.close()


@pytest.mark.parametrize("where", ["disk", "server"])
def test_search_works(where, site, served, browser):  # noqa: F811
    tab = browser.new_page(viewport=DESKTOP)
    tab.goto((site / "index.html").as_uri() if where == "disk" else served + "index.html")
    tab.keyboard.press("/")
    tab.keyboard.type("Birkhoff")
    tab.locator('.md-search-result__item a[href*="/relu.html"]').first.click()
    tab.wait_for_url(re.compile(r"/relu\.html"))
    assert "Birkhoff" in tab.inner_text("article")
    tab.close()


def test_pages_fit_a_phone(pages, served, browser):  # noqa: F811
    tab, wide = browser.new_page(viewport=PHONE), {}
    for name in pages:
        if name not in ("404.html", "explorer.html"):
            tab.goto(served + name, wait_until="domcontentloaded")
            width = tab.evaluate("document.documentElement.scrollWidth")
            if width > PHONE["width"]:
                wide[name] = width
    assert wide == {}
    tab.close()


def test_another_builder_reads_the_same_settings(tmp_path):
    """Zensical, a successor of MkDocs, makes the same pages, with the same formulas."""
    pytest.importorskip("zensical", reason="needs zensical: pip install 'hgm[dev]'")
    draw()
    settings = (ROOT / "mkdocs.yml").read_text()
    built = ROOT / "build" / f"site-{tmp_path.name}"  # it takes folders below that of its settings only
    mine = ROOT / f"mkdocs-{tmp_path.name}.yml"
    mine.write_text(settings.replace("site_dir: site", f"site_dir: {built.relative_to(ROOT)}"))
    try:
        run("-m", "zensical", "build", "--strict", "--clean", "-f", str(mine))
        text = (built / "concepts.html").read_text()
        assert text.count("<math") == text.count('class="arithmatex"') > 50
        assert (built / "reference" / "index.html").exists() and not LEFT.search(Read(built / "concepts.html").text)
    finally:
        mine.unlink()
