"""A command from outside the package: it stands last in the help, runs, and its errors are told as those of hgm."""

from typing import Annotated

import pytest
import typer

import hgm
from hgm.cli import app, main
from hgm.cli.options import Model


@pytest.fixture
def leaves():
    """`hgm leaves MODEL`: the names of a model's leaves."""

    @app.command()
    def leaves(model: Model, most: Annotated[int, typer.Option(min=1)] = 100) -> None:
        """List the leaves."""
        tree = hgm.load(model)
        if len(tree.leaves) > most:
            raise hgm.BadSpec(f"more than {most} leaves")
        print(*(tree.names[v] for v in tree.leaves.tolist()))

    yield
    app.registered_commands.pop()


@pytest.fixture
def model(tmp_path):
    hgm.save(hgm.star(3), tmp_path / "star.yaml")
    return str(tmp_path / "star.yaml")


@pytest.mark.usefixtures("leaves")
def test_it_stands_in_the_help(capsys):
    assert main(["--help"]) == 0
    assert "\nMore:\n  leaves  List the leaves.\n" in capsys.readouterr().out


@pytest.mark.usefixtures("leaves")
def test_it_runs(model, capsys):
    assert main(["leaves", model]) == 0
    assert capsys.readouterr() == (" ".join(hgm.star(3).names[v] for v in (1, 2, 3)) + "\n", "")


@pytest.mark.usefixtures("leaves")
@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["leaves", "MODEL", "--most", "2"], "hgm: more than 2 leaves\n"),
        (["leaves", "absent.yaml"], "hgm: absent.yaml: there is no such file\n"),
        (["leaves", "MODEL", "--most", "0"], "(see hgm leaves --help)\n"),
        (["leaves"], "(see hgm leaves --help)\n"),
    ],
)
def test_its_errors_are_one_line_and_exit_code_2(model, capsys, args, text):
    assert main([model if arg == "MODEL" else arg for arg in args]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.endswith(text) and err.count("\n") == 1


def test_without_it_there_is_no_such_command(capsys):
    assert main(["leaves"]) == 2
    assert "No such command 'leaves'" in capsys.readouterr().err
