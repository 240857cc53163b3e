"""Imports stay quick: the libraries that take time are imported only where they are used."""

import json
import subprocess
import sys

import pytest

SLOW = ["torch", "scipy.optimize", "scipy.integrate", "tabulate", "pydantic", "yaml", "pgmpy", "pyro", "matplotlib"]
SLOW += ["sklearn", "pandas", "networkx", "onnx", "safetensors"]
NOT_FOR_NETWORKS = {"scipy.optimize", "scipy.integrate", "tabulate"}


def slow_after(statement: str) -> set[str]:
    """The slow libraries that a fresh interpreter holds after a statement."""
    code = f"{statement}; import json, sys; print(json.dumps(list(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(SLOW) & set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("statement", ["import hgm", "import hgm.cli", "from hgm.cli import main; main(['--help'])"])
def test_hgm_and_its_help_are_light(statement):
    assert slow_after(statement) == set()


def test_an_exact_network_needs_no_library_of_relu_networks():
    made = slow_after("import hgm; hgm.compile(hgm.random_ghm(2, 2, 2, seed=0))")
    assert "torch" in made and not made & NOT_FOR_NETWORKS


@pytest.mark.long
@pytest.mark.parametrize("library", ["torch", "scipy.optimize", "matplotlib", "pandas"])
def test_a_slow_import_is_seen(library):
    assert library in slow_after(f"import hgm, {library}")
