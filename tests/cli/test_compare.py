"""`hgm compare`: networks in files of every kind, measured as the library measures them, or one line."""

import json
from typing import get_args

import pytest
import torch

import hgm
from hgm.ablation.kinds import Kind
from hgm.cli import compare

MODEL = "{hgm: 1, root: {states: 3, name: label}, levels: [{arity: 2, states: 3}, {arity: 2, states: 2}]}"


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "tree.yaml"
    path.write_text(MODEL)
    return path


class Told(torch.nn.Module):
    """A network of somebody else, which takes a label and has weights in float64."""

    def __init__(self):
        super().__init__()
        self.shift = torch.nn.Parameter(torch.zeros(3, dtype=torch.float64))

    def forward(self, z, sigma, y):
        return z / (1 + sigma[:, None]) + self.shift[y][:, None].float()


def exported(path):
    batch = {0: torch.export.Dim("batch")}
    example = torch.zeros(4, 4), torch.ones(4), torch.zeros(4, dtype=torch.int64)
    torch.export.save(torch.export.export(Told(), example, dynamic_shapes=(batch, batch, batch)), path)


def test_a_network_of_ours_is_measured_through_its_own_channel(model, tmp_path, run):
    tree = hgm.load(model)
    hgm.save_network(hgm.compile(tree, "denoise", channel=hgm.Gaussian([-1, 2])), tmp_path / "net.safetensors")
    out = run("compare", model, tmp_path / "net.safetensors", "-n", 20, "--noise", "0.5,2")
    want = hgm.compare(hgm.load_network(tmp_path / "net.safetensors"), tree, n=20, noise=[0.5, 2.0])
    assert out == f"{want}\n" and out.count("zero to rounding") == 3


@pytest.mark.export
@pytest.mark.parametrize("kind", ["pt2", "onnx"])
@pytest.mark.parametrize(
    ("task", "channel"),
    [("denoise", "gaussian"), ("posterior", "flip"), ("posterior", "erasure"), ("classify", "flip")],
)
def test_programs_are_zero_to_rounding(model, tmp_path, run, kind, task, channel):
    if kind == "onnx":
        pytest.importorskip("onnxruntime")
    file = tmp_path / f"net.{kind}"
    run("compile", model, "--task", task, "--channel", channel, "-o", file)
    out = run("compare", model, file, "--channel", channel, "--task", task, "--noise", "0.2,0.6", "-n", 30)
    assert f"net.{kind} against the optimum, task {task}" in out and out.count("zero to rounding") == 3


@pytest.mark.export
def test_a_program_of_somebody_else_is_told_the_label(model, tmp_path, run, refused):
    exported(tmp_path / "told.pt2")
    line = refused("compare", model, tmp_path / "told.pt2", "--noise", "1")
    assert "takes 3 inputs (z, sigma, y); there are 2" in line
    out = run("compare", model, tmp_path / "told.pt2", "--noise", "1", "--given", "label", "-n", 50)
    want = hgm.compare(Told().float(), hgm.load(model), noise=1.0, given=["label"], n=50)
    assert f"{want.levels[0].excess:.4g}" in out


class ByName(Told):
    """The same, called by name."""

    def forward(self, z, *, sigma, y):
        return super().forward(z, sigma, y)


@pytest.mark.export
def test_what_a_program_takes_by_name_is_told_in_order(model, tmp_path, run):
    exported(tmp_path / "net.pt2")
    batch, (z, sigma, y) = {0: torch.export.Dim("batch")}, (torch.zeros(4, 4), torch.ones(4), torch.zeros(4).long())
    named = torch.export.export(
        ByName(), (z,), {"sigma": sigma, "y": y}, dynamic_shapes={"z": batch, "sigma": batch, "y": batch}
    )
    torch.export.save(named, tmp_path / "named.pt2")
    found = [
        run("compare", model, tmp_path / name, "-n", 20, "--noise", "0.5,2", "--given", "label").replace(name, "")
        for name in ("net.pt2", "named.pt2")
    ]
    assert found[0] == found[1]


@pytest.mark.export
def test_a_program_that_takes_evidence_is_refused(model, tmp_path, run, refused):
    run("compile", model, "--channel", "erasure", "--observed", "label", "-o", tmp_path / "net.pt2")
    line = refused("compare", model, tmp_path / "net.pt2", "--channel", "erasure")
    assert "takes evidence beside the observation: export the network without observed=" in line


def test_tables_and_pictures_are_written(model, tmp_path, run):
    tree = hgm.load(model)
    file = tmp_path / "net.safetensors"
    hgm.save_network(hgm.compile(tree, "denoise", channel=hgm.Gaussian()), file)
    saved, drawn = tmp_path / "gap.json", tmp_path / "gap.svg"
    out = run(
        "compare",
        model,
        file,
        "-n",
        10,
        "--per",
        "level",
        "--seed",
        2,
        "--values",
        "0,3",
        "--json",
        saved,
        "--plot",
        drawn,
    )
    assert out.endswith(f"wrote {saved}\n\nwrote {drawn}\n") and "nats per sample" in out
    want = hgm.compare(hgm.load_network(file), tree, n=10, per="level", seed=2, channel=hgm.Gaussian([0, 3]))
    assert json.loads(saved.read_text()) == json.loads(want.to_json()) and drawn.read_text().startswith("<?xml")


REFUSALS = {
    "no file": (["none.pt2"], "none.pt2: there is no such file"),
    "another ending": (["net.pth"], "a network file must end in .safetensors, .pt2 or .onnx"),
    "a damaged program": (["bad.pt2"], "bad.pt2 cannot be read as a program of torch.export"),
    "one sample": (["net.safetensors", "-n", "1"], "greater than or equal to 2"),
    "noise that is none": (["net.safetensors", "--noise", "0.5;1"], "numbers with commas between them; got '0.5;1'"),
    "another channel": (["net.safetensors", "--channel", "gausian"], "did you mean 'gaussian'"),
    "an unknown variable": (["net.safetensors", "--given", "digit"], "no variable 'digit'"),
    "another task": (["net.safetensors", "--task", "classify"], "compiled for task 'denoise'"),
    "another table": (["net.safetensors", "--json", "gap.txt"], "a comparison must end in .json"),
    "another picture": (["net.safetensors", "--plot", "gap.gif"], "a picture must end in"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_bad_input_is_one_line_and_writes_nothing(model, tmp_path, monkeypatch, refused, name):
    args, words = REFUSALS[name]
    monkeypatch.chdir(tmp_path)
    hgm.save_network(hgm.compile(hgm.load(model), "denoise", channel=hgm.Gaussian()), "net.safetensors")
    (tmp_path / "bad.pt2").write_bytes(b"PK nothing")
    before = sorted(tmp_path.iterdir())
    assert words in refused("compare", model, *args)
    assert sorted(tmp_path.iterdir()) == before


def test_an_ablation_is_measured_as_by_the_library(tmp_path, run):
    path = tmp_path / "grid.yaml"
    path.write_text("{hgm: 1, root: {states: 3, name: top}, levels: [{arity: 2, states: 3}, {arity: 2, states: 2}]}")
    tree, channel, told = hgm.load(path), hgm.Gaussian([-1.0, 2.0]), ["--values=-1,2", "-n", 20, "--noise", "0.5,2"]
    other = tmp_path / "other.yaml"
    hgm.save(hgm.random_ghm(2, 2, 2, seed=5), other)
    for words, given, known in (
        (["window", "--radius", 1], {"radius": 1}, ()),
        (["block", "--level", 1], {"level": 1}, ()),
        (["blind", "--levels", "0.5,2", "--weights", "1,3"], {"noise": [0.5, 2.0], "weights": [1, 3]}, ()),
        (["tree", "--other", other], {"other": hgm.load(other)}, ()),
        (["label"], {}, ["top"]),
    ):
        net = hgm.ablate(tree, words[0], channel=channel, **given)
        want = hgm.compare(net, tree, n=20, noise=[0.5, 2.0], given=known)
        assert run("ablate", path, "--kind", *words, *told) == f"{want}\n"


def test_a_bad_ablation_is_one_line(model, refused):
    assert "told by radius=" in refused("ablate", model, "--kind", "window")
    assert "'windows' is not one of" in refused("ablate", model, "--kind", "windows")
    assert "weights are numbers with commas between them; got 'x'" in refused(
        "ablate", model, "--kind", "blind", "--levels", "1,2", "--weights", "x"
    )


def test_the_command_line_knows_every_kind():
    assert get_args(compare.Kind) == get_args(Kind)
