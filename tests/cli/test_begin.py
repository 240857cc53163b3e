"""`hgm init`, help by job, completion, and colours that only a terminal sees."""

import io
import re
import shlex
import subprocess
import sys

import pytest

import hgm
from hgm.cli import main
from hgm.cli.options import JOBS
from hgm.cli.terminal import bold, red


def test_the_example_is_a_model_and_its_comments_are_commands_that_run(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("init") == "wrote tree.yaml\n"
    tree = hgm.load("tree.yaml")
    assert tree.labels(tree.index("sprinkler")) == ("on", "off") and len(tree) == 4
    commands = re.findall(r"^#   hgm (.*?)  ", (tmp_path / "tree.yaml").read_text(), re.M)
    assert len(commands) == 3
    for command in commands:
        assert run(*shlex.split(command))


def test_the_shorter_model_in_its_comments_is_one_too(run, tmp_path):
    run("init", tmp_path / "a model.yml")
    text = (tmp_path / "a model.yml").read_text()
    assert "hgm infer 'a model.yml'" in text
    short = "hgm: 1\n" + re.sub(r"^#   ", "", text[text.index("#   root:") :], flags=re.M)
    (tmp_path / "short.yaml").write_text(short)
    assert hgm.load(tmp_path / "short.yaml").leaf_shape == (4, 4)


def test_a_file_that_exists_is_left_alone(refused, tmp_path):
    (tmp_path / "tree.yaml").write_text("mine")
    assert "exists, and is left alone" in refused("init", tmp_path / "tree.yaml")
    assert (tmp_path / "tree.yaml").read_text() == "mine"
    assert "must end in .yaml or .yml" in refused("init", tmp_path / "tree.json")


def test_help_has_every_command_under_its_job(run):
    out = run("--help")
    heads = re.findall(r"^(\S.*):$", out, re.M)
    assert heads == ["Options", *JOBS]
    for job, some in (("Models", "init"), ("Networks", "compile"), ("Inference and samples", "infer")):
        assert re.search(rf"^{job}:\n(  .*\n)*  {some} ", out, re.M)


def test_a_command_from_outside_is_listed_last():
    code = "from hgm.cli import app, main\n@app.command()\ndef mine():\n    'Do it.'\nmain(['--help'])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert re.search(r"^More:\n  mine  Do it\.$", out, re.M)


def test_a_shell_completes_commands():
    env = {"_HGM_COMPLETE": "complete_bash", "COMP_WORDS": "hgm in", "COMP_CWORD": "1"}
    done = subprocess.run(
        [sys.executable, "-c", "import sys; from hgm.cli import main; sys.exit(main([]))"],
        env=env | {"PYTHONPATH": ":".join(sys.path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.split() == ["init", "infer"], done.stderr


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("style", [bold, red])
def test_only_a_terminal_sees_colours(style, monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert style("a", Terminal()) != "a" and "\x1b[" in style("a", Terminal())
    assert style("a", io.StringIO()) == style("a", None) == "a"
    monkeypatch.setenv("NO_COLOR", "1")
    assert style("a", Terminal()) == "a"


def test_an_error_is_red_on_a_terminal(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    seen = Terminal()
    monkeypatch.setattr(sys, "stderr", seen)
    assert main(["infer", "nowhere.yaml"]) == 2
    assert seen.getvalue().startswith("\x1b[1;31mhgm:\x1b[0m ")
