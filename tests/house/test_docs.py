"""The code on the pages runs as it stands, block after block."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from places import ROOT, needs_checkout, page

pytestmark = [pytest.mark.docs, needs_checkout]
NAMES = ["README.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))]
PAGES = [name for name in NAMES if "```python" in page(name)]


def blocks(name, language):
    return re.findall(rf"^```{language}\n(.*?)^```", page(name), re.S | re.M)


@pytest.mark.parametrize("name", PAGES)
def test_code_on_the_page_runs(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    models = blocks(name, "yaml")
    names = {}
    for code in blocks(name, "python"):
        for file in re.findall(r"load\(\"([\w.]+)\"\)", code):
            if not Path(file).exists():
                Path(file).write_text(models[0])  # the page's own example
        exec(compile(code, name, "exec"), names)


@pytest.mark.parametrize("name", ["README.md", "docs/handbook.md"])
def test_the_first_example_prints_what_the_page_says(name):
    code, said = blocks(name, "python")[0], blocks(name, "text")[0]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert (done.stdout, done.stderr) == (said, "")


def test_the_picture_of_the_readme_is_what_hgm_draws():
    sys.path.insert(0, str(ROOT))
    from pages.pictures import drawn

    kept = (ROOT / "docs" / "images" / "readme.svg").read_bytes()
    assert kept == drawn("readme"), "write it again: python -m pages.pictures readme --out docs/images"
