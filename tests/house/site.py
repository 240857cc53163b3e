"""The site as `make docs` builds it, once for all tests of pages; and what stands on a page of it."""

import os
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from places import ROOT

RAW = {"code", "pre", "script", "style"}  # where markup is meant
ENV = os.environ | {"NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), *sys.path]))}


def run(*args):
    done = subprocess.run([sys.executable, *args], cwd=ROOT, env=ENV, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def draw():
    """Everything that scripts write before the build; what `make docs` has written is left as it is."""
    run("tutorials/_build.py")  # looks by itself
    run("-m", "pages.reference")
    if not (ROOT / "docs" / "pictures").exists():
        run("-m", "pages.pictures")
    if not (ROOT / "docs" / "explorer.html").exists():
        run("-m", "hgm", "explore", "docs/explorer.yaml", "-o", "docs/explorer.html", "--values=-1,0,1")


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """The folder of the built site; a quiet build would not count its warnings."""
    folder = tmp_path_factory.mktemp("site")
    draw()
    run("-m", "mkdocs", "build", "--strict", "--site-dir", str(folder))
    return folder


class Read(HTMLParser):
    """A page: its text outside of code, its anchors, what it loads by itself, and what it links to."""

    def __init__(self, path: Path):
        super().__init__(convert_charrefs=True)
        self.text, self.anchors, self.loads, self.links, self.raw = "", {"", "__top"}, [], [], 0
        self.feed(path.read_text())

    def handle_starttag(self, tag, attrs):
        named = {name: value for name, value in attrs if value}
        self.raw += tag in RAW
        self.anchors |= {named[name] for name in ("id", "name") if name in named}
        loaded = tag == "link" and named.get("rel") not in ("canonical", "prev", "next")
        self.loads += [named[name] for name in ("src", *["href"] * loaded) if name in named]
        self.links += [named["href"]] if tag == "a" and "href" in named else []

    def handle_endtag(self, tag):
        self.raw -= tag in RAW

    def handle_data(self, data):
        self.text += "" if self.raw else data
