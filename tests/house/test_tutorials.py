"""A tutorial's page is what a run of it gives, and the site shows it."""

import html
import json
import os
import re
import subprocess
import sys
from itertools import pairwise

import pytest
from house.site import site  # noqa: F401  a fixture
from places import ROOT, needs_checkout, page
from viz.browser import DESKTOP, browser  # noqa: F401  a fixture

pytestmark = [pytest.mark.docs, needs_checkout]
WIDTH = 88  # characters of code that a page shows in a line; tutorials/ruff.toml formats for it
TUTORIALS = sorted(path.stem for path in (ROOT / "tutorials").glob("[!_]*.py"))

NOISY = """\
# %% [markdown]
# # A title
# and prose

# %%
import os, time, warnings
import hgm
from tqdm import tqdm
print("\\x1b[31mred\\x1b[0m", os.getcwd(), hgm.__file__)
time.sleep(0.5)
print("```")
for _ in tqdm(range(3), disable=False):
    pass
warnings.warn("beware")
object()

# %% alt="A line"
import matplotlib.pyplot as plt
plt.plot([0, 1])
plt.show()

# %%
from IPython.display import HTML
HTML("<table><tr><td>1</td></tr></table>")
"""


def built(*args, **env):
    command = [sys.executable, ROOT / "tutorials" / "_build.py", *args]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | env)


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", TUTORIALS)
def test_tutorial_runs(name):
    done = built(ROOT / "tutorials" / f"{name}.py")  # no more than a look, where the site has been built
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", TUTORIALS)
def test_a_page_of_the_site_shows_the_tutorial_with_outputs_and_pictures(name, site):  # noqa: F811
    text = (site / "tutorials" / f"{name}.html").read_text()
    code = (ROOT / "tutorials" / f"{name}.py").read_text()
    shown = html.unescape(re.sub("<[^>]*>", "", text))
    assert all(title in shown for title in re.findall(r"^# #+ (.*)$", code, re.M))
    assert all(line in shown for line in code.splitlines() if line.startswith(("assert ", "print(")))
    notebook = json.loads((site / "tutorials" / f"{name}.ipynb").read_text())
    printed = ["".join(it["text"]) for cell in notebook["cells"] for it in cell.get("outputs", ()) if "text" in it]
    assert printed and all(line in shown for text in printed for line in text.splitlines())
    pictures = re.findall(rf'<img alt="([^"]+)" src="({name}_files/[^"]+)"', text)
    assert pictures and all((site / "tutorials" / file).stat().st_size > 1000 for _, file in pictures)
    assert re.search(r"<em>Tutorial \d+\. This page is", text)
    for file in (f"{name}.py", f"{name}.ipynb"):
        assert f'href="{file}"' in text and (site / "tutorials" / file).exists()


def test_every_tutorial_has_a_line_in_the_navigation_and_on_the_index():
    listed = re.findall(r"^\| (\d+) \| \[.+\]\((\w+)\.md\)", page("docs/tutorials/README.md"), re.M)
    assert listed == re.findall(r"- (\d+)\. .*: tutorials/(\w+)\.md", page("mkdocs.yml"))
    assert sorted(name for _, name in listed) == TUTORIALS
    numbers = [int(number) for number, _ in listed]
    assert numbers[0] == 1 and all(a < b for a, b in pairwise(numbers))


@pytest.mark.parametrize("name", TUTORIALS)
def test_a_tutorial_says_what_it_teaches_and_ends_with_three_exercises_and_their_answers(name):
    cells = page(f"tutorials/{name}.py").split("# %%")
    assert "you can" in cells[1]
    prose = "".join(cell for cell in cells if cell.startswith(" [markdown]"))
    exercises, answers = prose.partition("# ## Exercises\n")[2].split("# ## Answers\n")
    assert (
        re.findall(r"^# (\d)\. ", exercises, re.M)
        == re.findall(r"^# \*\*(\d)\.\*\* ", answers, re.M)
        == ["1", "2", "3"]
    )
    assert "# ## " not in exercises + answers


@pytest.mark.parametrize("name", TUTORIALS)
def test_code_is_as_wide_as_a_page(name):
    lines = page(f"tutorials/{name}.py").splitlines()
    assert [line for line in lines if len(line) > WIDTH and not line.startswith("#")] == []


def test_code_of_that_width_does_not_scroll(site, browser):  # noqa: F811
    tab, wide = browser.new_page(viewport=DESKTOP), {}
    for name in TUTORIALS:
        tab.goto((site / "tutorials" / f"{name}.html").as_uri())
        blocks = tab.evaluate(
            """() => [...document.querySelectorAll("pre code")].filter((x) => x.scrollWidth > x.clientWidth + 1)
                 .map((x) => x.innerText)"""
        )
        narrow = [text for text in blocks if max(map(len, text.splitlines())) <= WIDTH]
        wide |= {name: narrow} if narrow else {}
    assert wide == {}
    tab.close()


def test_a_page_depends_on_the_script_alone(tmp_path):
    """The second time in a home that cannot be written and with someone's own kernel and settings: the same bytes."""
    script = tmp_path / "noisy.py"
    script.write_text(NOISY)
    own = {
        "kernels/python3/kernel.json": '{"argv": ["false"], "display_name": "mine", "language": "python"}',
        "profile_default/startup/first.py": "def object(): return 1",
        "matplotlibrc": "lines.color: red\naxes.facecolor: blue",
    }
    for name, text in own.items():
        (tmp_path / "own" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "own" / name).write_text(text)
    mine = dict.fromkeys(["JUPYTER_PATH", "IPYTHONDIR", "MPLCONFIGDIR"], str(tmp_path / "own"))
    first = built(script, "--out", tmp_path / "a")
    again = built(script, "--out", tmp_path / "b", HOME=str(script), **mine)
    assert (first.returncode, again.returncode) == (0, 0), first.stderr + again.stderr
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert set(contents(tmp_path / "a")) == {"noisy.md", "noisy.ipynb", "noisy.py", "noisy_files/1.svg"}
    text = (tmp_path / "a" / "noisy.md").read_text()
    assert text.startswith("# A title\n\n*This page") and "\n\nand prose\n\n" in text
    assert "\n````text\nred . hgm/__init__.py\n```\n````\n\n```text\n<object>\n```\n" in text
    assert "![A line](noisy_files/1.svg)" in text and "<table><tr><td>1</td></tr></table>" in text
    assert "it/s" not in text + first.stderr
    assert "UserWarning: beware" not in text and "UserWarning: beware" in first.stderr
    notebook = json.loads((tmp_path / "a" / "noisy.ipynb").read_text())
    assert "UserWarning" not in json.dumps(notebook) and str(tmp_path) not in json.dumps(notebook)


def test_a_tutorial_is_run_again_only_if_it_has_changed(tmp_path):
    script = tmp_path / "clock.py"
    script.write_text("# %% [markdown]\n# # Now\n# %%\nimport time\nprint(time.time_ns())\n")
    ran, pages = [], []
    for change in ("", "", "# more\n"):
        script.write_text(script.read_text() + change)
        ran.append("running" in built(script, "--out", tmp_path / "out").stdout)
        pages.append((tmp_path / "out" / "clock.md").read_text())
    assert ran == [True, False, True]
    assert pages[0] == pages[1] != pages[2]


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ("# %%\n1\n\n# %%\nx = 1\nassert x > 2, 'too\\nsmall'\n", "cell 2 (`x = 1`): AssertionError: too"),
        ("# %%\n1 +\n", "cell 1 (`1 +`): SyntaxError: invalid syntax"),
        ("# %%\nimport os\nos._exit(1)\n", "its Python died"),
        ("# %%\nimport hgm\nhgm.draw(hgm.chain(3, 2, seed=0))\n", "cell 1 (`import hgm`) draws a picture: say what"),
    ],
)
def test_a_broken_tutorial_ends_the_build_in_one_line(cells, message, tmp_path):
    script = tmp_path / "broken.py"
    script.write_text("# %% [markdown]\n# # A title\n\n" + cells)
    done = built(script, "--out", tmp_path / "out")
    assert done.returncode == 1 and done.stderr.startswith(f"broken.py: {message}")
    assert len(done.stderr.splitlines()) == 1 and not contents(tmp_path / "out")


def test_a_tutorial_begins_with_its_title(tmp_path):
    (tmp_path / "bare.py").write_text("# %%\n1\n")
    assert "first line the title" in built(tmp_path / "bare.py", "--out", tmp_path / "out").stderr
