"""The command line: what each command prints, and that bad input ends in one line and exit code 2."""

import contextlib
import csv
import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from cli.typed import TYPED, row
from places import ROOT, needs_checkout, page

import hgm
from hgm.cli import main
from hgm.measure import exactness

WEATHER = """\
hgm: 1
variables: {weather: [sunny, rainy], sprinkler: ["on", "off"], "a=b": 3, wet: ["no", "yes"]}
roots: [weather]
factors:
  - {scope: [weather], table: [0.8, 0.2]}
  - {scope: [weather, wet], table: [[0.9, 0.1], [0.0, 1.0]]}
  - {scope: [weather, sprinkler], table: [[0.4, 0.6], [0.1, 0.9]]}
  - {scope: [sprinkler, "a=b"], table: [[0.4, 0.3, 0.3], [0.1, 0.1, 0.8]]}
"""
GRID = "{hgm: 1, root: {states: 4}, levels: [{arity: [2, 2], states: 3}, {arity: [2, 2], states: 2}]}"
EDGE = "{scope: [a, b], table: [[1]]}"
COMMANDS = (
    "init", "draw", "explore", "diffuse", "infer", "sample", "show", "compile", "check", "compare", "ablate", "demo",
    "study",
)  # fmt: skip


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "weather.yaml"
    path.write_text(WEATHER)
    return str(path)


@pytest.fixture
def grid(tmp_path):
    path = tmp_path / "grid.yaml"
    path.write_text(GRID)
    return str(path)


# ---------------------------------------------------------------------- help


def test_version(run):
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", hgm.__version__)
    assert run("--version") == f"hgm {hgm.__version__}\n"


@pytest.mark.parametrize("args", [[], ["--help"], ["-h"]])
def test_help_lists_the_commands(run, args):
    out = run(*args)
    assert sorted(re.findall(r"^  ([a-z]+)  +\S", out, re.M)) == sorted(COMMANDS)
    assert "Examples:" in out and "hgm infer" in out
    for command in COMMANDS:
        (line,) = re.findall(rf"^  {command} +(.+)$", out, re.M)
        assert not line.endswith("...")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(run, command):
    out = run(command, "--help")
    assert re.search(rf"Examples?:\n(    hgm {command}.*\n)+", out), out
    assert "\x08" not in out


@pytest.mark.long
@pytest.mark.export
def test_examples_run_on_the_model_of_init(tmp_path, monkeypatch, run):
    monkeypatch.chdir(tmp_path)
    run("init", "tree.yaml")
    helps = [run(command, "--help") for command in COMMANDS]
    lines = [line.split()[1:] for text in helps for line in re.findall(r"^ +(hgm .*)$", text, re.M)]
    of_tree = [words for words in lines if [word for word in words if word.endswith(".yaml")] == ["tree.yaml"]]
    chosen = [words for words in of_tree if words[0] != "init"]
    assert {words[0] for words in chosen} == set(COMMANDS) - {"init", "demo", "study"}
    for words in chosen:  # as they are listed: `compare` after `compile`, which writes its network
        run(*words)


# ---------------------------------------------------------------------- infer


def test_infer_prints_marginals_and_the_log_partition(model, run):
    out = run("infer", model, "-e", "wet=yes", "--evidence", "a=b=0.5,0.2,0.1")
    posterior = hgm.infer(hgm.load(model), {"wet": "yes", "a=b": hgm.Likelihood([0.5, 0.2, 0.1])})
    sunny, rainy = posterior["weather"].tolist()
    assert row(out, "weather") == ["weather", "rainy", f"{rainy:.4f}", f"sunny {sunny:.4f}", f"rainy {rainy:.4f}"]
    assert f"log partition {posterior.log_partition.item():.6f}" in out
    assert row(out, "wet")[1:3] == ["yes", "1.0000"]


def test_infer_as_json_is_exact(model, run):
    out = json.loads(run("infer", model, "-e", "wet=1", "--mode", "--sample", "5", "--seed", "3", "--json"))
    posterior = hgm.infer(hgm.load(model), {"wet": "yes"})
    assert out["log_partition"] == posterior.log_partition.item()
    columns = dict(zip(posterior.tree.names, posterior.marginals.T.tolist(), strict=True))
    assert out["marginals"]["weather"] == dict(zip(["sunny", "rainy"], columns["weather"], strict=False))
    assert out["marginals"]["a=b"] == columns["a=b"]
    mode = posterior.mode()
    assert out["mode"]["log_prob"] == mode.log_prob.item()
    assert out["mode"]["states"] == {name: mode.labels(name) for name in posterior.tree.names}
    drawn = posterior.sample(5, generator=torch.Generator().manual_seed(3))
    assert [sample["a=b"] for sample in out["samples"]] == drawn["a=b"].tolist()
    assert [sample["weather"] for sample in out["samples"]] == drawn.labels("weather")


def test_infer_only_what_is_asked_for(model, run):
    out = json.loads(run("infer", model, "-q", "sprinkler", "-q", "weather", "--mode", "--json"))
    assert list(out["marginals"]) == ["sprinkler", "weather"] == list(out["mode"]["states"])
    out = run("infer", model, "-q", "sprinkler", "--mode", "--sample", 2)
    assert "weather" not in out and "mode: sprinkler=off\n" in out


def test_large_results_are_cut_and_say_so(tmp_path, run):
    hgm.save(hgm.chain(100, 9), tmp_path / "chain.yaml")
    out = run("infer", tmp_path / "chain.yaml")
    assert "and 40 more variables" in out and "and 4 more" in row(out, "x5")[-1]
    assert "and 88 more variables" in run("sample", tmp_path / "chain.yaml")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("seen.yaml", "wet: yes\nweather: null\na=b: [0.5, 0.2, 0.1]\nsprinkler: {off: 0.3}\n"),
        ("seen.json", '{"wet": 1, "a=b": [5, 2, 1], "sprinkler": [0, 0.25]}'),
    ],
)
def test_evidence_from_a_file(model, tmp_path, run, name, text):
    (tmp_path / name).write_text(text)
    out = json.loads(run("infer", model, "--evidence-file", tmp_path / name, "--json"))
    want = hgm.infer(hgm.load(model), {"wet": "yes", "a=b": hgm.Likelihood([0.5, 0.2, 0.1]), "sprinkler": "off"})
    assert out["marginals"]["weather"]["sunny"] == pytest.approx(want["weather"][0].item(), abs=1e-15)


def test_an_empty_evidence_file_is_no_evidence(model, tmp_path, run):
    (tmp_path / "none.yaml").write_text("\n")
    assert run("infer", model, "--evidence-file", tmp_path / "none.yaml") == run("infer", model)


# ---------------------------------------------------------------------- sample


def test_sample_in_every_format_is_the_same(model, run):
    args = ("sample", model, "-n", "20", "--seed", "5", "-e", "weather=rainy")
    rows = json.loads(run(*args, "--format", "json"))
    assert len(rows) == 20 and {row["weather"] for row in rows} == {"rainy"}
    read = list(csv.DictReader(io.StringIO(run(*args, "--format", "csv"))))
    assert read == [{name: str(state) for name, state in row.items()} for row in rows]
    table = [line.split() for line in run(*args).splitlines()]
    assert table[0] == list(rows[0]) and table[2:] == [list(row.values()) for row in read]
    assert run(*args[:4], "--seed", "6", "-e", "weather=rainy") != run(*args)


@pytest.mark.parametrize(("form", "want"), [("csv", "wet\n"), ("json", "[]\n")])
def test_no_samples_are_no_rows(model, run, form, want):
    assert run("sample", model, "-n", "0", "-q", "wet", "-f", form) == want


# ---------------------------------------------------------------------- show, draw, check


def test_show_prints_the_plan(grid, run):
    out = run("show", grid, "--task", "classify")
    tree = hgm.load(grid)
    assert out.startswith(repr(tree)) and "conv2d" in out and "4x4" not in out
    assert out == f"{hgm.compile(tree, 'classify').plan}\n"


def test_show_reroots(model, run):
    assert run("show", model, "-t", "classify", "-q", "a=b") != run("show", model, "-t", "classify")
    assert "3 observed" in run("show", model, "--observed", "weather")  # the leaves are wet and a=b
    assert "4 observed" in run("show", model, "--observed", "all")


def test_draw_writes_pictures(grid, tmp_path, run):
    assert run("draw", grid, "-o", tmp_path / "tree.svg") == f"wrote {tmp_path / 'tree.svg'}\n"
    assert "<svg" in (tmp_path / "tree.svg").read_text()
    run("draw", grid, "-o", tmp_path / "net.png", "--network", "--task", "denoise")
    assert (tmp_path / "net.png").read_bytes().startswith(b"\x89PNG")
    run("draw", grid, "-o", tmp_path / "nodes.svg", "--style", "nodes")
    assert (tmp_path / "nodes.svg").read_bytes() != (tmp_path / "tree.svg").read_bytes()


def test_check_accepts_the_networks(model, run):
    out = run("check", model, "--task", "posterior", "--batch", "2")
    assert "posterior  anywhere" in out and "equal within the tolerance" in out and "classify" not in out


def test_check_finds_a_wrong_network(model, monkeypatch, capsys):
    right = exactness.compile

    def wrong(tree, *args, **kwargs):
        return right(tree.with_potentials([p.scaled(1e-3) for p in tree.potentials]), *args, **kwargs)

    monkeypatch.setattr(exactness, "compile", wrong)
    assert main(["check", model]) == 1
    out, err = capsys.readouterr()
    assert "NO" in out and "DIFFERENT" in out and err == ""


def test_check_takes_a_tolerance(model, capsys):
    assert main(["check", model, "--tolerance", "1e-12"]) == 1  # float32 cannot
    assert capsys.readouterr().out.count("1e-12") == 2


# ---------------------------------------------------------------------- compile


def test_compile_saves_a_network(model, tmp_path, run):
    path = tmp_path / "net.safetensors"
    out = run("compile", model, "-o", path, "-t", "posterior", "-q", "weather", "-q", "a=b", "--observed", "sprinkler")
    assert out == f"wrote {path}: a UNet, stages: 2, weights: 16\n"
    net = hgm.load_network(path)
    tree = hgm.load(model)
    want = hgm.infer(tree, {"sprinkler": "on", "wet": "yes"})
    got = net.given({"sprinkler": "on", "wet": "yes"})[0]
    torch.testing.assert_close(got[:2, 0], want["weather"])
    torch.testing.assert_close(got[:, 1], want["a=b"])


def test_compile_with_a_channel(grid, tmp_path, run):
    path = tmp_path / "net.safetensors"
    run(
        "compile",
        grid,
        "-o",
        path,
        "-t",
        "denoise",
        "--channel",
        "gaussian",
        "--values=-1,1",
        "--missing",
        "--trainable",
    )
    net = hgm.load_network(path)
    assert isinstance(net.channel, hgm.Missing) and isinstance(net.channel.channel, hgm.Gaussian)
    assert net.channel.values.tolist() == [-1, 1] and net.trainable
    assert net(torch.zeros(1, 4, 4), 1.0).shape == (1, 4, 4)


def test_compile_saves_a_relu_network_and_prints_its_certificate(grid, tmp_path, run):
    path = tmp_path / "net.safetensors"
    out = run("compile", grid, "-o", path, "--relu", "--tol", "0.3", "--floor", "20", "--channel", "clamp")
    net = hgm.load_network(path)
    assert isinstance(net, hgm.UNet) and net.certificate is not None
    weights = f"{net.certificate.parameters:,}"
    assert out == f"wrote {path}: a ReLU UNet, stages: 2, weights: {weights}\n{net.certificate}\n"
    assert net.certificate.log_posterior <= net.certificate.tol == 0.3 and net.certificate.floor == 20
    assert net(torch.zeros(1, 4, 4, dtype=torch.int64)).isfinite().all()


def test_compile_exports_for_torch(model, tmp_path, run):
    run("compile", model, "-o", tmp_path / "net.pt2", "--task", "classify", "--precision", "float64")
    program = torch.export.load(tmp_path / "net.pt2").module()
    net = hgm.compile(hgm.load(model), "classify")
    e = torch.randn(7, 3, 2, dtype=torch.float64)
    torch.testing.assert_close(program(e), net(e))


# ---------------------------------------------------------------------- bad input

REFUSALS = {
    "no such file": (["infer", "absent.yaml"], "absent.yaml: there is no such file"),
    "a directory": (["infer", "."], "must end in .yaml"),
    "another ending": (["show", "MODEL.txt"], "must end in .yaml"),
    "a broken file": (["show", "BROKEN"], "broken.yaml, line 3"),
    "a cycle": (["infer", "CYCLE"], "cycle"),
    "an unknown variable": (["infer", "MODEL", "-e", "snow=yes"], "no variable 'snow'"),
    "an unknown query": (["infer", "MODEL", "-q", "snow"], "no variable 'snow'"),
    "an unknown state": (["infer", "MODEL", "-e", "wet=maybe"], "no state 'maybe'; its states are no, yes"),
    "a state out of range": (["infer", "MODEL", "-e", "a=b=3"], "no state 3; its states are 0 to 2"),
    "a negative state": (["infer", "MODEL", "-e", "a=b=-1"], "no state -1"),
    "a label where there are none": (["infer", "MODEL", "-e", "a=b=red"], "no state labels"),
    "a short likelihood": (["infer", "MODEL", "-e", "a=b=0.2,0.3"], "3 states, so its likelihood is 3 numbers; got 2"),
    "one number": (["infer", "MODEL", "-e", "wet=0.5"], "2 states, so its likelihood is 2 numbers; got 1"),
    "a negative likelihood": (["infer", "MODEL", "-e", "wet=-1,2"], "-1.0"),
    "a NaN": (["infer", "MODEL", "-e", "wet=nan,1"], "nan"),
    "an infinity": (["infer", "MODEL", "-e", "wet=1e999,1"], "inf"),
    "no value": (["infer", "MODEL", "-e", "wet"], "name=state"),
    "an empty value": (["infer", "MODEL", "-e", "wet="], "no state ''"),
    "evidence twice": (["infer", "MODEL", "-e", "wet=no", "-e", "wet=yes"], "'wet' is given twice"),
    "evidence twice, once in a file": (["infer", "MODEL", "-e", "wet=no", "--evidence-file", "SEEN"], "given twice"),
    "impossible evidence": (["infer", "MODEL", "-e", "weather=rainy", "-e", "wet=no"], "probability zero"),
    "impossible evidence for samples": (["sample", "MODEL", "-e", "weather=rainy", "-e", "wet=no"], "probability zero"),
    "no evidence file": (["infer", "MODEL", "--evidence-file", "absent.yaml"], "there is no such file"),
    "evidence of another kind": (["infer", "MODEL", "--evidence-file", "absent.csv"], "evidence file must end in"),
    "an evidence file with a list": (["infer", "MODEL", "--evidence-file", "LIST"], "expected a mapping"),
    "a bad state in a file": (["infer", "MODEL", "--evidence-file", "MAYBE"], "maybe.yaml, line 2: wet: "),
    "a bad value in a file": (
        ["infer", "MODEL", "--evidence-file", "NESTED"],
        "nested.json, line 1: wet: expected a state",
    ),
    "a negative number of samples": (["sample", "MODEL", "-n", "-3"], "greater than or equal to 0"),
    "no number of samples": (["sample", "MODEL", "-n", "many"], "integer"),
    "too many samples": (["sample", "MODEL", "-n", "99999999999"], "too many"),
    "a negative number of modes": (["infer", "MODEL", "--sample", "-1"], "greater than or equal to 0"),
    "an unknown format": (["sample", "MODEL", "--format", "xml"], "'-f': 'xml' is not one of 'table'"),
    "a picture with another ending": (["draw", "MODEL", "-o", "x.gif"], "must end in .svg, .png or .pdf"),
    "a picture nowhere": (["draw", "MODEL", "-o", "nowhere/x.svg"], "nowhere/x.svg cannot be written: No such file"),
    "a picture on a directory": (["draw", "MODEL", "-o", "FOLDER.svg"], "cannot be written: Is a directory"),
    "a style that does not fit": (["draw", "MODEL", "-o", "x.svg", "--style", "planes"], "2-D grid"),
    "no output": (["compile", "MODEL"], "Missing option '--out' / '-o'"),
    "a network with another ending": (["compile", "MODEL", "-o", "x.pt"], "must end in .safetensors, .pt2 or .onnx"),
    "no tolerance": (
        ["compile", "MODEL", "-o", "x.safetensors", "--relu", "--tol", "0"],
        "must be positive and finite; got 0.0",
    ),
    "a tolerance without ReLUs": (["compile", "MODEL", "-o", "x.pt2", "--tol", "0.1"], "give --relu, too"),
    "no such channel": (
        ["compile", "MODEL", "-o", "x.pt2", "--channel", "missing"],
        "no channel 'missing'; there are soft, clamp, erasure, flip, gaussian",
    ),
    "nearly a channel": (["compile", "MODEL", "-o", "x.pt2", "--channel", "gausian"], "did you mean 'gaussian'?"),
    "nearly a study": (
        ["study", "rely"],
        "samplers, why-unet; did you mean 'relu'?",
    ),
    "no floor": (["compile", "MODEL", "-o", "x.pt2", "--relu", "--channel", "clamp"], "give --floor B"),
    "a network nowhere": (["compile", "MODEL", "-o", "nowhere/x.safetensors"], "cannot be written"),
    "an unknown task": (
        ["compile", "MODEL", "-o", "x.pt2", "-t", "clasify"],
        "'--task' / '-t': 'clasify' is not one of",
    ),
    "two variables to classify": (
        ["show", "MODEL", "-t", "classify", "-q", "wet", "-q", "weather"],
        "one variable; got 2",
    ),
    "means of other variables": (["show", "MODEL", "-t", "denoise", "-q", "weather"], "task 'denoise'"),
    "values that are none": (["compile", "MODEL", "-o", "x.safetensors", "--values", "0,a"], "'0,a'"),
    "too few values": (["compile", "MODEL", "-o", "x.safetensors", "--values", "0,1"], "2 states"),
    "an unknown variable to observe": (["show", "MODEL", "--observed", "snow"], "no variable 'snow'"),
    "no observations to check": (["check", "MODEL", "--batch", "0"], "greater than or equal to 1"),
    "nearly a variable": (["infer", "MODEL", "-e", "wheather=sunny"], "did you mean 'weather'?"),
    "an unknown variable to check": (["check", "MODEL", "-t", "classify", "-q", "snow"], "no variable 'snow'"),
    "no model": (["infer"], "Missing argument"),
    "an empty model": (["infer", "EMPTY"], "empty.yaml: it is empty; a model has at least"),
    "evidence in a directory": (["infer", "MODEL", "--evidence-file", "EVIDENCE.yaml"], "an evidence file is one file"),
    "a label twice": (["infer", "TYPED", "-e", "x=1"], "'1' means several states of variable 'x': 1 and '1'; in an ev"),
    "a name twice": (["infer", "TYPED", "-e", "2=0"], "'2' means several variables: '2' and 2; in an evidence file"),
    "a name twice to ask for": (["infer", "TYPED", "-q", "2"], "'2' means several variables: '2' and 2"),
    "labels that JSON mixes up": (
        ["infer", "TYPED", "-q", "x", "--json"],
        "states of variable 'x' called 1 and '1' have",
    ),
    "names that JSON mixes up": (["infer", "TYPED", "--json"], "the variables called '2' and 2 have the same text"),
    "names that CSV mixes up": (["sample", "TYPED", "-f", "csv"], "the variables called '2' and 2 have the same text"),
    "labels that CSV mixes up": (
        ["sample", "TYPED", "-f", "csv", "-q", "x"],
        "the labels 1 and '1' of variable 'x' can",
    ),
    "a label like another in CSV": (
        ["sample", "CSV", "-f", "csv", "-q", "a"],
        "the labels '1.0' and 1 of variable 'a'",
    ),
    "a boolean in CSV": (
        ["sample", "CSV", "-f", "csv", "-q", "b"],
        "the labels 'true' and True of variable 'b' cannot",
    ),
    "a hole in CSV": (["sample", "CSV", "-f", "csv", "-q", "c"], "the label 'NA' of variable 'c' stands for a missing"),
    "a tuple's text in CSV": (
        ["sample", "CSV", "-f", "csv", "-q", "d"],
        "the labels (1,) and '(1,)' of variable 'd' c",
    ),
    "a type of another label": (["infer", "CSV", "-e", "b=TRUE"], "no state 'TRUE'; its states are 'true', True"),
    "a very long number": (["infer", "CSV", "-e", "a=" + "9" * 5000], "states"),
    "a label and likelihood in one": (["infer", "TYPED", "--evidence-file", "AMBIGUOUS"], "[1, 2] is a label and also"),
    "a likelihood twice": (
        ["infer", "TYPED", "--evidence-file", "TWICE"],
        "twice.yaml, line 1: x: the likelihood of variable 'x' names a",
    ),
    "evidence twice in a file": (["infer", "TYPED", "--evidence-file", "PAIRS"], "evidence for '2' is given twice"),
    "a name that no file holds": (["infer", "TYPED", "--evidence-file", "NULL"], "null.json, line 1: [0][1]: expected"),
    "an unknown command": (["frobnicate"], "No such command 'frobnicate'"),
    "an unknown option": (["infer", "MODEL", "--frobnicate"], "--frobnicate (see hgm infer --help)"),
    "evidence without its option": (["infer", "MODEL", "wet=no"], "argument(s) (wet=no) (see hgm infer --help)"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_bad_input_is_one_line_and_exit_code_2(model, tmp_path, monkeypatch, refused, name):
    monkeypatch.chdir(tmp_path)
    files = {
        "BROKEN": ("broken.yaml", "hgm: 1\nvariables: [\n"),
        "CYCLE": ("cycle.yaml", f"variables: {{a: 1, b: 1}}\nfactors: [{', '.join([EDGE] * 2)}]"),
        "SEEN": ("seen.yaml", "wet: 1"),
        "LIST": ("list.yaml", "- wet"),
        "MAYBE": ("maybe.yaml", "weather: sunny\nwet: maybe\n"),
        "EMPTY": ("empty.yaml", "# nothing"),
        "TYPED": ("typed.yaml", TYPED),
        "CSV": ("csv.yaml", 'variables: {a: ["1.0", 1], b: ["true", true], c: ["NA", x], d: [[1], "(1,)"]}'),
        "AMBIGUOUS": ("ambiguous.yaml", "y: [1, 2]"),
        "TWICE": ("twice.yaml", 'x: [["1", 0], ["1", 1]]'),
        "PAIRS": ("pairs.json", '[["2", 0], ["2", 1]]'),
        "NULL": ("null.json", "[[null, 0]]"),
        "NESTED": ("nested.json", '{"wet": [[1, 2, 3], {}]}'),
    }  # fmt: skip
    for file, text in files.values():
        Path(file).write_text(text)
    Path("MODEL.txt").write_text(WEATHER)
    Path("FOLDER.svg").mkdir()
    Path("EVIDENCE.yaml").mkdir()
    args, text = REFUSALS[name]
    before = sorted(tmp_path.iterdir())
    assert text in refused(*({"MODEL": model}.get(arg, files.get(arg, [arg])[0]) for arg in args))
    assert sorted(tmp_path.iterdir()) == before  # nothing was written


@pytest.mark.parametrize(
    ("library", "extra", "args"),
    [
        ("matplotlib", "demo", ["draw", "MODEL", "-o", "x.svg"]),
        ("onnxscript", "export", ["compile", "MODEL", "-o", "x.onnx"]),
    ],
)
def test_a_missing_library_is_named(model, tmp_path, monkeypatch, refused, library, extra, args):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, library, None)
    assert f"pip install 'hgm[{extra}]'" in refused(*(model if arg == "MODEL" else arg for arg in args))


def test_an_error_of_ours_shows_its_traceback(model, monkeypatch):
    monkeypatch.setattr(hgm, "load", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(["show", model])


def test_an_interrupt_is_quiet(model, monkeypatch, capsys):
    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(hgm, "load", interrupt)
    assert main(["show", model]) == 130
    assert capsys.readouterr() == ("", "")


def test_a_reader_that_stops_early_is_no_error(model, monkeypatch, capsys):
    reader, writer = os.pipe()
    os.close(reader)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", os.fdopen(writer, "w"))
        assert main(["infer", model]) == 141
        sys.stdout.close()  # what is left to write goes nowhere
    assert capsys.readouterr().err == ""


def test_a_full_disk_is_one_line(model, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", os.fdopen(os.open("/dev/full", os.O_WRONLY), "w"))
        assert main(["infer", model]) == 2
        with contextlib.suppress(OSError):
            sys.stdout.close()  # what is left to write has no place
    assert capsys.readouterr().err == "hgm: cannot write the output: No space left on device\n"


# ---------------------------------------------------------------------- as processes

HGM = [str(Path(sys.executable).with_name("hgm"))]


@pytest.mark.long
def test_the_command_is_installed(model):
    done = subprocess.run([*HGM, "infer", model, "-e", "wet=maybe"], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stdout == ""
    assert re.fullmatch(r"hgm: [^\n]+\n", done.stderr)


def ends_quietly_when_interrupted(code):
    """A process that runs `code`, which says "ready" and waits, ends with 130 at Ctrl-C and says nothing more."""
    start = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # in the background it is ignored
    )
    command = [sys.executable, "-c", start + textwrap.dedent(code)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "ready\n"
            os.kill(process.pid, signal.SIGINT)
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, out, err) == (130, "", "")


@pytest.mark.long
def test_ctrl_c_ends_quietly_with_130(model):
    code = f"""
        import sys, time
        import hgm
        from hgm.cli import main

        def wait(*_):
            print("ready", flush=True)
            time.sleep(60)
        hgm.infer = wait
        sys.exit(main(["infer", {model!r}]))
    """
    ends_quietly_when_interrupted(code)


@pytest.mark.long
@pytest.mark.parametrize("module", ["typer", "numpy", "torch", "yaml"])
def test_ctrl_c_ends_quietly_while_something_is_imported(model, module):
    code = f"""
        import sys, time

        class Slow:
            def find_spec(self, name, path=None, target=None):
                if name == {module!r}:
                    print("ready", flush=True)
                    time.sleep(60)

        sys.meta_path.insert(0, Slow())
        from hgm.cli import main
        sys.exit(main(["infer", {model!r}]))
    """
    ends_quietly_when_interrupted(code)


LETTERS = "variables: {é: [ä, 漢], plain: [yes, '\U0001f600']}\n"


@pytest.fixture
def letters(tmp_path):
    path = tmp_path / "letters.yaml"
    path.write_text(LETTERS, encoding="utf-8")
    return str(path)


def process(command, encoding="utf-8", **more):
    """The result of a shell command."""
    env = {**os.environ, "PYTHONIOENCODING": encoding, "HGM": shlex.join([sys.executable, "-m", "hgm"])}
    return subprocess.run(["bash", "-c", command], capture_output=True, env=env, check=False, **more)


@pytest.mark.long
@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "cp437", "utf-8", "utf-16"])
def test_labels_that_the_terminal_lacks_are_shown_by_their_codes(letters, encoding):
    want = {letter: letter.encode(encoding, "backslashreplace").decode(encoding) for letter in "é漢"}
    done = process(f"$HGM infer {letters} --mode --sample 2", encoding)
    assert (done.returncode, done.stderr) == (0, b"")
    assert all(shown in done.stdout.decode(encoding) for shown in want.values())
    done = process(f"$HGM sample {letters}", encoding)
    assert (done.returncode, done.stderr) == (0, b"") and want["é"] in done.stdout.decode(encoding)


@pytest.mark.long
@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_json_holds_every_label_in_every_encoding(letters, encoding):
    done = process(f"$HGM infer {letters} --json", encoding)
    assert (done.returncode, done.stderr) == (0, b"")
    marginals = json.loads(done.stdout.decode(encoding))["marginals"]
    assert {name: list(p) for name, p in marginals.items()} == {"é": ["ä", "漢"], "plain": ["yes", "\U0001f600"]}
    done = process(f"$HGM sample {letters} -f json", encoding)
    assert {row["é"] for row in json.loads(done.stdout.decode(encoding))} <= {"ä", "漢"} and done.returncode == 0


@pytest.mark.long
def test_csv_is_whole_or_refused(letters):
    done = process(f"$HGM sample {letters} -f csv")
    assert done.returncode == 0 and done.stdout.decode().startswith("é,plain\n")
    done = process(f"$HGM sample {letters} -f csv", "ascii")
    assert (done.returncode, done.stdout) == (2, b"")
    assert re.fullmatch(rb"hgm: the output is ascii, which lacks [^\n]+; set PYTHONIOENCODING=utf-8.*\n", done.stderr)


@pytest.mark.parametrize("args", ["infer {}", "show {}", "sample {} -n 3", "--help", "--version"])
def test_a_closed_output_is_one_line(model, args):
    done = process(f"$HGM {args.format(model)} >&-")
    assert (done.returncode, done.stderr) == (2, b"hgm: cannot write the output: standard output is closed\n")


@pytest.mark.long
def test_without_standard_error_nothing_is_mixed_into_the_output(model):
    done = process(f"$HGM infer {model} -q snow 2>&-")
    assert (done.returncode, done.stdout) == (2, b"")
    assert process(f"$HGM infer {model} 2>&- >&-").returncode == 2


@pytest.mark.long
@pytest.mark.parametrize("n", [10, 100_000])
def test_a_reader_that_takes_one_line_ends_it_quietly(model, n):
    done = process(f"$HGM sample {model} -n {n} -f csv | head -1; exit ${{PIPESTATUS[0]}}")
    assert done.stdout == b"weather,sprinkler,wet,a=b\n" and done.stderr == b""
    assert done.returncode == 141 or (n == 10 and done.returncode == 0)


# ---------------------------------------------------------------------- the manual


@pytest.mark.long
@needs_checkout
def test_the_manual_shows_what_is_printed(tmp_path, monkeypatch, capsys):
    """Every command in docs/cli.md is run; an ellipsis stands for any text on a line, or for whole lines."""
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```(\w+)[^\n]*\n(.*?)```", page("docs/cli.md"), re.S)
    for name, text in zip(["weather", "seen", "image"], [t for kind, t in blocks if kind == "yaml"], strict=True):
        Path(f"{name}.yaml").write_text(text)
    commands = re.findall(
        r"^\$ hgm (.+)\n((?:(?!\$).*\n)*)", "".join(t for kind, t in blocks if kind == "console"), re.M
    )
    assert len(commands) == 19
    for command, want in commands:
        main(shlex.split(command))
        out, err = capsys.readouterr()
        pattern = re.escape(want).replace(re.escape("...\n"), "(.*\n)+?").replace(re.escape("..."), ".*")
        assert re.fullmatch(pattern, out + err), f"{command}\n{out}{err}"
    for name in ("tree", "unet"):
        now, there = (
            re.findall("<!-- (.+) -->", (at / f"{name}.svg").read_text()) for at in (Path(), ROOT / "docs/cli")
        )
        assert now == there, f"docs/cli/{name}.svg is old: draw it again"
