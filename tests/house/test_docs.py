"""The code on the pages runs as it stands, block after block."""

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [p for p in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))) if "```python" in p.read_text()]


@pytest.mark.parametrize("script", sorted((ROOT / "tutorials").glob("*.py")), ids=lambda script: script.name)
def test_tutorial_runs(script):
    runpy.run_path(str(script))


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.S | re.M)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_code_on_the_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    models = blocks(page, "yaml")
    names = {}
    for code in blocks(page, "python"):
        for file in re.findall(r"load\(\"([\w.]+)\"\)", code):
            if not Path(file).exists():
                Path(file).write_text(models[0])  # the page's own example
        exec(compile(code, page.name, "exec"), names)
