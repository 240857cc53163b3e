"""The floors of the package: a module imports only from floors below its own.

The floors are the import-linter contract in pyproject.toml. They are checked on hgm itself, and the check is shown to
refuse small fabricated packages that break them.
"""

import re
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path

import pytest

TYPES_ONLY = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import hgm.learn.em"
ROOT = Path(__file__).parents[2]
PYPROJECT = ROOT / "pyproject.toml"


def floors() -> list[list[str]]:
    """The modules of each floor, from the errors up, as pyproject.toml lists them."""
    (contract,) = tomllib.loads(PYPROJECT.read_text())["tool"]["importlinter"]["contracts"]
    return [re.findall(r"\((.+?)\)", layer) for layer in reversed(contract["layers"])]


def modules(root: Path) -> list[str]:
    """The dotted names of all modules of the package hgm in a directory, packages themselves left out."""
    paths = (path.relative_to(root).with_suffix("") for path in (root / "hgm").rglob("*.py"))
    return sorted(".".join(path.parts) for path in paths if path.name != "__init__")


def without_floor(names: list[str]) -> list[str]:
    """The modules that stand on no floor."""
    known = [name for floor in floors() for name in floor]
    return [name for name in names if not any(name == k or name.startswith(k + ".") for k in known)]


def lint(root: Path) -> subprocess.CompletedProcess[str]:
    """Hold the project's contract against the package hgm in a directory."""
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache", "--no-logo", "--config", PYPROJECT]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)


def fabricate(root: Path, files: dict[str, str]) -> None:
    """Write a package hgm with these files, by their paths in it."""
    for name, source in {"__init__.py": "", **files}.items():
        path = root / "hgm" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        (path.parent / "__init__.py").touch()
        path.write_text(textwrap.dedent(source))


def test_hgm_keeps_its_floors():
    result = lint(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr


def test_every_module_of_hgm_stands_on_a_floor():
    names = modules(ROOT)
    assert "hgm.errors" in names
    missing = without_floor(names)
    assert not missing, f"add {missing} to the floors in pyproject.toml, [[tool.importlinter.contracts]]"


def test_a_module_on_no_floor_is_found(tmp_path):
    fabricate(tmp_path, {"errors.py": "", "errorsish.py": "", "bridges/newick.py": "", "compile/new.py": ""})
    assert without_floor(modules(tmp_path)) == ["hgm.compile.new", "hgm.errorsish"]


def test_a_house_in_order_passes(tmp_path):
    house = {
        "errors.py": "",
        "tree/potential.py": "from hgm.errors import a",
        "tree/tree.py": "from hgm.tree import potential",
        "evidence/named.py": "import hgm.tree.tree",
        "evidence/channel.py": "",
        "zoo/layered.py": "from hgm.zoo.hierarchy import a",
        "zoo/hierarchy.py": "from ..tree import a",
        "bp/passes.py": "import hgm.evidence.channel\nfrom hgm.evidence import a",
        "compiler/plan.py": "from hgm.tree.tree import a",
        "compiler/layers.py": "from .plan import a",
        "relu/maps.py": "from hgm.compiler import plan",
        "networks/compile.py": "from hgm.relu import maps",
        "bridges/pgmpy.py": "from hgm.files import a",
        "files/model.py": "",
        "cli/job.py": "def main():\n    from hgm.networks.compile import a",
    }
    fabricate(tmp_path, house)
    result = lint(tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("low", "source", "high"),
    [
        ("errors.py", "import hgm.tree.potential", "tree/potential.py"),
        ("tree/tree.py", "from hgm.zoo import hierarchy", "zoo/hierarchy.py"),
        ("bp/passes.py", "def infer():\n    from hgm.networks.compile import a", "networks/compile.py"),
        ("compiler/layers.py", "from hgm.bp.passes import a", "bp/passes.py"),
        ("compiler/stage.py", "from ..relu.stage import a", "relu/stage.py"),
        ("evidence/channel.py", TYPES_ONLY, "learn/em.py"),
    ],
    ids=["plain", "from the package", "in a function", "beside it", "relative", "for types only"],
)
def test_an_import_from_a_higher_floor_is_refused(tmp_path, low, source, high):
    fabricate(tmp_path, {low: source, high: ""})
    result = lint(tmp_path)
    importer, imported = ("hgm." + name.removesuffix(".py").replace("/", ".") for name in (low, high))
    assert result.returncode == 1, result.stdout + result.stderr
    assert f"{importer} -> {imported}" in result.stdout


def test_a_detour_through_the_package_is_refused(tmp_path):
    fabricate(tmp_path, {"tree/tree.py": "import hgm", "cli.py": ""})
    (tmp_path / "hgm" / "__init__.py").write_text("from hgm.cli import main")
    result = lint(tmp_path)
    assert result.returncode == 1, result.stdout + result.stderr
    assert "hgm.tree.tree -> hgm" in result.stdout
