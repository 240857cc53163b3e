"""The reference: every module stands on one page, every public name in the overview, and the menu has the pages."""

import pkgutil
import re
import subprocess
import sys
import types

import griffe
import pytest
import yaml
from places import ROOT, needs_checkout, page

import hgm

pytestmark = [pytest.mark.docs, needs_checkout]


@pytest.fixture(scope="module")
def reference():
    sys.path.insert(0, str(ROOT))
    from pages import reference

    return reference


@pytest.fixture(scope="module")
def pages(reference):
    return reference.written()


def asked(text):
    return re.findall(r"^::: (\S+)$", text, re.M)


def is_module(found):
    return isinstance(found, types.ModuleType)


def has_all(name):
    path = ROOT.joinpath(*name.split("."))
    return "\n__all__ =" in (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text()


def test_every_module_stands_on_one_page(pages):
    modules = [m for m in pkgutil.walk_packages(hgm.__path__, "hgm.") if m.ispkg or has_all(m.name)]
    assert sorted(asked("".join(pages.values()))) == sorted(module.name for module in modules)


@pytest.mark.parametrize("name", hgm.__all__)
def test_every_public_name_is_in_the_overview_and_on_the_page_it_links_to(name, pages):
    ((file, anchor, says),) = re.findall(rf"^\| \[`hgm\.{name}`\]\((\S+)#(\S+)\) \| (.+) \|$", pages["index.md"], re.M)
    found = getattr(hgm, name)
    assert " ".join(found.__doc__.split()).startswith(says.replace("\\|", "|"))
    module, _, inside = anchor.rpartition(".")
    if is_module(found):
        assert anchor == found.__name__ and anchor in asked(pages[file])
        return
    directive = re.search(rf"^::: {re.escape(module)}\n    options:\n      members: \[(.*)\]$", pages[file], re.M)
    assert (found.__module__, found.__name__) == (module, inside) and inside in directive[1].split(", ")


def test_what_users_call_comes_first_in_the_order_of_the_public_names(pages):
    called = dict.fromkeys(getattr(hgm, name).__module__ for name in hgm.__all__ if not is_module(getattr(hgm, name)))
    networks = [module for module in called if module.startswith("hgm.networks.")]
    first, _, last = pages["compile.md"].partition("## How it is done")
    assert asked(first) == ["hgm.networks", *networks]
    assert "hgm.networks.replay" in asked(last)


def test_the_menu_of_the_site_has_the_pages_in_their_order(reference):
    (menu,) = [part["Reference"] for part in yaml.safe_load(page("mkdocs.yml"))["nav"] if "Reference" in part]
    listed = [entry for entry in menu if isinstance(entry, dict) and "reference/" in next(iter(entry.values()))]
    assert listed == [{page.title: f"reference/{page.name}.md"} for page in reference.PAGES]


@pytest.mark.parametrize(
    ("names", "parts", "says"),
    [
        (["hgm.tree.tree", "hgm.attic.new"], ["tree"], "hgm.attic.new has no page: add it, or its room, to a page"),
        (["hgm.tree.tree"], ["tree", "tree"], "'tree' stands twice there: once is enough"),
        (["hgm.tree.tree"], ["tree bp"], "no module's page is decided by 'bp'; remove it"),
    ],
)
def test_wrong_contents_end_the_script_in_one_line(names, parts, says, reference):
    pages = [reference.Page(str(i), "A page", "About it.", {"": part}) for i, part in enumerate(parts)]
    with pytest.raises(SystemExit, match=f"^pages/contents.py: {re.escape(says)}$"):
        reference.places(names, pages)


def test_the_longest_beginning_decides(reference):
    pages = [reference.Page(str(i), "", "", {"": part}) for i, part in enumerate(["bridges", "bridges.pyro bridges.x"])]
    found = reference.places(["hgm.bridges.networkx", "hgm.bridges.pyro_in", "hgm.bridges.x"], pages)
    assert [(place.page, place.beginning) for place in found.values()] == [(0, 0), (1, 0), (1, 1)]


def test_a_public_name_says_what_it_is(reference):
    code = 'def f(): ...\ndef g():\n    """A | b\n    and c.\n\n    More.\n    """'
    module = griffe.visit("m", ROOT / "m.py", code)
    assert reference.summary(module["g"]) == r"A \| b and c."
    with pytest.raises(SystemExit, match=r"^pages/reference.py: m\.f is public .* give it a docstring$"):
        reference.summary(module["f"])


def test_the_script_writes_the_pages_and_no_others_stay(tmp_path, pages):
    (tmp_path / "renamed.md").write_text("an old page")
    subprocess.run([sys.executable, "-m", "pages.reference", "--out", tmp_path], cwd=ROOT, check=True)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == pages
