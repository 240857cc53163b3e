"""Running the command line in a test."""

import re

import pytest
from cli.typed import TYPED

from hgm.cli import main


@pytest.fixture
def run(capsys):
    """Run a command that succeeds, and give what it prints."""

    def run(*args):
        code = main([str(arg) for arg in args])
        out, err = capsys.readouterr()
        assert (code, err) == (0, "")
        return out

    return run


@pytest.fixture
def refused(capsys):
    """Run a command that is refused, and give its one line."""

    def refused(*args):
        code = main([str(arg) for arg in args])
        out, err = capsys.readouterr()
        assert code == 2 and out == ""
        assert re.fullmatch(r"hgm: [^\n]+\n", err), err
        return err

    return refused


@pytest.fixture
def typed(tmp_path):
    """A model whose names and labels are of every type."""
    path = tmp_path / "typed.yaml"
    path.write_text(TYPED)
    return str(path)
