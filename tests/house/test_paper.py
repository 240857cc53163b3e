"""Every name on the page from the paper to the code is there: files, functions, methods and their arguments."""

import ast
import importlib
import inspect
import re

import pytest
from places import ROOT, needs_checkout, page

import hgm

pytestmark = needs_checkout
TREE = hgm.broadcast(2, 3, 2, eps=0.1)
NET = hgm.compile(TREE)
KNOWN = {"hgm": hgm, "tree": TREE, "net": NET, "plan": NET.plan, "print": print}
CODE = re.compile(r"`([^`]+)`(?: \(`([^`]+\.py)`\))?")  # a name, perhaps with its file behind it


def missing(name, file):
    """What of a piece of code on the page does not exist: None, or what it is."""
    if re.fullmatch(r"[\w/]+(\.py)?", name) and ("/" in name or (ROOT / "hgm" / name).is_dir()):
        return None if (ROOT / "hgm" / name).exists() else name
    known = KNOWN | {public: getattr(hgm, public) for public in hgm.__all__}
    known |= {public: getattr(hgm.diffusion, public) for public in hgm.diffusion.__all__}
    if file is not None:
        if not (ROOT / "hgm" / file).exists():
            return file
        known |= vars(importlib.import_module("hgm." + file.removesuffix(".py").replace("/", ".")))
        if not name.startswith("hgm.") and name.split(".")[0] not in known:
            return f"{name} in {file}"
    for node in ast.walk(ast.parse(name, mode="eval")):
        if isinstance(node, ast.Name | ast.Attribute) and not resolved(node, known):
            return ast.unparse(node)
        if isinstance(node, ast.Call):
            called = eval(ast.unparse(node.func), known)
            arguments = inspect.signature(getattr(called, "forward", called)).parameters
            if wrong := {keyword.arg for keyword in node.keywords} - {*arguments}:
                return f"{name}: {wrong}"
    return None


def resolved(node, known):
    if isinstance(node, ast.Name):
        return node.id in known or node.id in ("z", "K")  # an input, a bound
    return not isinstance(node.value, ast.Name | ast.Attribute) or hasattr(
        eval(ast.unparse(node.value), known), node.attr
    )


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("relu/nowhere.py", None),
        ("hgm.nothing", None),
        ("Posterior.mode_of", None),
        ("hgm.compile(tree, certainty=1)", None),
        ("gather_all", "bp/passes.py"),
        ("collect", "bp/nowhere.py"),
        ("net.plan.stages_of", None),
    ],
)
def test_what_is_not_there_is_found(name, file):
    assert missing(name, file)


def test_every_name_is_there():
    found = CODE.findall(page("docs/paper.md"))
    assert len(found) > 50
    assert [lacks for name, file in found if (lacks := missing(name, file or None))] == []
