"""The names of the house: nothing shadows a module, inner rooms hand nothing on, public names say what they are."""

import ast
import functools
import importlib
import inspect
import pkgutil
import types
from pathlib import Path

import pytest

import hgm

HAND_ON = {
    "hgm",
    "hgm.cli",
    "hgm.baselines",
    "hgm.diffusion",
    "hgm.study",
    "hgm.testing",
    "hgm.zoo",
}  # the rooms whose __init__ hands names on
MODULES = [m.name for m in pkgutil.walk_packages(hgm.__path__, "hgm.") if m.name != "hgm.__main__"]


def reached(name):
    """What attribute access from hgm gives for the name of a module."""
    importlib.import_module(name)
    return functools.reduce(getattr, name.split(".")[1:], hgm)


@pytest.mark.parametrize("name", MODULES)
def test_no_name_shadows_a_module(name):
    assert reached(name) is importlib.import_module(name)


def test_a_function_that_shadows_its_module_is_found(monkeypatch):
    monkeypatch.setattr(hgm.viz, "draw", hgm.draw)
    assert reached("hgm.viz.draw") is not importlib.import_module("hgm.viz.draw")


@pytest.mark.parametrize("name", [name for name in MODULES if name not in HAND_ON])
def test_an_inner_room_holds_its_docstring_and_nothing_else(name):
    path = Path(importlib.import_module(name).__file__)
    if path.name == "__init__.py":
        (line,) = ast.parse(path.read_text()).body
        assert isinstance(line.value, ast.Constant) and isinstance(line.value.value, str)


def test_the_public_names_are_those_of_the_stub():
    stub = ast.parse(Path(hgm.__file__).with_name("__init__.pyi").read_text())
    listed = [alias for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names]
    assert all(alias.asname == alias.name for alias in listed)
    assert sorted(alias.name for alias in listed) == sorted(hgm.__all__) == sorted(dir(hgm))


@pytest.mark.parametrize("name", hgm.__all__)
def test_a_public_name_is_imported_and_says_what_it_is(name):
    found = getattr(hgm, name)
    assert inspect.getdoc(found)
    assert isinstance(found, types.ModuleType) or name in importlib.import_module(found.__module__).__all__
