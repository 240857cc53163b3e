"""`import hgm` stays quick: the libraries that take seconds are imported only where they are used."""

import json
import subprocess
import sys

import pytest

HEAVY = {"pgmpy", "pyro", "matplotlib", "sklearn", "pandas"}


def heavy_after(statement: str) -> set[str]:
    """The heavy libraries that a fresh interpreter holds after a statement."""
    code = f"{statement}; import json, sys; print(json.dumps(list(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in json.loads(done.stdout)} & HEAVY


def test_import_hgm_is_light():
    assert heavy_after("import hgm") == set()


@pytest.mark.parametrize("library", ["matplotlib", "pandas"])
def test_a_heavy_import_is_seen(library):
    assert library in heavy_after(f"import hgm, {library}")
