"""Source files stay short, and functions take few arguments but for those that pyproject.toml lists."""

import subprocess
import sys
import tomllib
from pathlib import Path

from places import ROOT, needs_checkout

pytestmark = needs_checkout
MOST = 320  # lines of a source file


def test_no_source_file_is_long():
    lines = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in (ROOT / "hgm").rglob("*.py")}
    assert {name: n for name, n in lines.items() if n > MOST} == {}, "split them"


def test_no_file_is_excused_that_has_no_function_of_many_arguments():
    lint = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]
    excused = {name for name, rules in lint["per-file-ignores"].items() if "PLR0913" in rules}
    most = f"lint.pylint.max-args={lint['pylint']['max-args']}"
    command = [Path(sys.executable).with_name("ruff"), "check", "--isolated", "--select=PLR0913", "--config", most]
    done = subprocess.run(
        [*command, "--output-format=concise", "."], cwd=ROOT, capture_output=True, text=True, check=False
    )
    found = {line.partition(":")[0] for line in done.stdout.splitlines() if "PLR0913" in line}
    assert found == excused
