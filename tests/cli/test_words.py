"""Names and labels that are no strings, on the command line and in evidence files."""

import pytest


@pytest.mark.parametrize(
    "args",
    [
        ["show", "-t", "classify", "-q", "('A', 0)"],
        ["show", "-q", "2.5", "-q", "x", "--observed", "x", "--observed", "('A', 0)"],
        ["check", "-t", "classify", "-q", "2.5", "--batch", "1"],
        ["check", "-t", "posterior", "--batch", "1"],
        ["compile", "-o", "NET.safetensors", "-t", "classify", "-q", "('A', 0)"],
        ["compile", "-o", "NET.safetensors", "--relu", "--tol", "1"],
        ["draw", "-o", "NET.svg"],
        ["sample", "-n", "3", "-f", "json", "-q", "x", "-q", "y", "-q", "2.5"],
        ["sample", "-n", "3", "-f", "csv", "-q", "y", "-q", "2.5"],
    ],
    ids=" ".join,
)
def test_every_command_takes_names_and_labels_of_every_type(typed, tmp_path, run, args):
    assert run(args[0], typed, *(str(tmp_path / arg) if arg.startswith("NET") else arg for arg in args[1:]))
