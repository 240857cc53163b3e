"""The floors of the package: a module imports only from floors below its own.

The floors are the import-linter contract in pyproject.toml; what each room may import from elsewhere stands below. Both
are checked on hgm itself, and the checks are shown to refuse small fabricated packages that break them.
"""

import ast
import re
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from places import ROOT, TESTS, needs_checkout

TYPES_ONLY = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import hgm.learn.em"
pytestmark = needs_checkout
PYPROJECT = ROOT / "pyproject.toml"

# Other people's libraries: what a room may load when it is imported, and what else only its functions may import.
LIBRARIES = {
    "__init__": ("lazy_loader", ""),
    "__main__": ("", ""),
    "errors": ("", ""),
    "tree": ("numpy scipy.sparse", "networkx tabulate"),
    "zoo": ("numpy", ""),
    "evidence": ("numpy torch narwhals", "narwhals"),
    "bp": ("numpy torch", ""),
    "compiler": ("numpy torch", ""),
    "relu": ("numpy torch scipy.special", "scipy.optimize scipy.integrate pydantic"),
    "networks": ("numpy torch", ""),
    "files": ("numpy torch pydantic pydantic_core yaml", "safetensors onnxscript onnxruntime"),
    "ablation": ("numpy torch", ""),
    "measure": ("numpy torch", "scipy.special tqdm"),
    "diffusion": ("numpy torch diffusers", "tqdm scipy.integrate"),
    "baselines": ("numpy torch", "diffusers"),
    "learn": ("numpy torch", "tqdm accelerate"),
    "testing": ("numpy torch", ""),
    "viz": ("numpy matplotlib", "IPython"),
    "bridges": ("numpy torch pyro", "networkx pgmpy"),
    "study": ("numpy torch", "matplotlib tabulate scipy.integrate scipy.special"),
    "demo": ("numpy torch tqdm sklearn matplotlib jinja2 markupsafe", "diffusers"),
    "cli": ("numpy torch typer", ""),
}


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


def imports(node: ast.AST, at_once: bool = True) -> Iterator[tuple[str, bool]]:
    """Other people's libraries that a source imports, and whether at once: not in a function, nor for types only.

    Of scipy, whose parts differ much in what they cost, the part.
    """
    for child in ast.iter_child_nodes(node):
        names = [alias.name for alias in child.names] if isinstance(child, ast.Import) else []
        if isinstance(child, ast.ImportFrom) and not child.level:
            names = [f"{child.module}.{alias.name}" for alias in child.names]
        for name in names:
            parts = name.split(".")
            if parts[0] != "hgm" and parts[0] not in sys.stdlib_module_names:
                yield ".".join(parts[: 2 if parts[0] == "scipy" else 1]), at_once
        later = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
        later |= isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"
        yield from imports(child, at_once and not later)


def strangers(root: Path) -> list[str]:
    """The imports that `LIBRARIES` does not allow to the package hgm in a directory."""
    found = []
    for path in sorted((root / "hgm").rglob("*.py")):
        room = path.relative_to(root / "hgm").with_suffix("").parts[0]
        first, later = (set(names.split()) for names in LIBRARIES.get(room, ("", "")))
        for library, at_once in imports(ast.parse(path.read_text())):
            if library not in (first if at_once else first | later):
                found.append(f"{path.relative_to(root)}: {library}{' at once' if at_once else ''}")
    return found


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


def test_every_room_keeps_to_its_libraries():
    assert strangers(ROOT) == []


def test_rooms_and_the_list_of_their_libraries_agree():
    rooms = {path.stem for path in (ROOT / "hgm").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert rooms == set(LIBRARIES)


@pytest.mark.parametrize(
    ("name", "source", "found"),
    [
        ("tree/tree.py", "import numpy.linalg\nfrom scipy import sparse\nfrom scipy.sparse.csgraph import a", []),
        ("tree/tree.py", "def f():\n    import networkx", []),
        ("viz/draw.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import matplotlib.figure", []),
        ("tree/tree.py", "import torch", ["hgm/tree/tree.py: torch at once"]),
        ("tree/tree.py", "def f():\n    import torch", ["hgm/tree/tree.py: torch"]),
        ("tree/tree.py", "class A:\n    import networkx", ["hgm/tree/tree.py: networkx at once"]),
        ("tree/showing.py", "from tabulate import tabulate", ["hgm/tree/showing.py: tabulate at once"]),
        ("relu/maps.py", "from scipy import optimize", ["hgm/relu/maps.py: scipy.optimize at once"]),
        ("bp/passes.py", "try:\n    import pandas as p\nfinally:\n    p", ["hgm/bp/passes.py: pandas at once"]),
        ("new/a.py", "import numpy", ["hgm/new/a.py: numpy at once"]),
    ],
)
def test_a_library_that_a_room_may_not_import_is_found(tmp_path, name, source, found):
    fabricate(tmp_path, {name: source})
    assert strangers(tmp_path) == found


def test_no_oracle_but_the_trees_imports_hgm():
    def knows(source: str) -> bool:
        modules = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Import | ast.ImportFrom)]
        return any(re.search(r"\b(hgm|oracles\.trees|import trees)\b", ast.unparse(node)) for node in modules)

    assert knows("def f():\n    from hgm.errors import BadSpec") and knows("from oracles.trees import CASES")
    assert [path.name for path in (TESTS / "oracles").glob("*.py") if knows(path.read_text())] == ["trees.py"]
