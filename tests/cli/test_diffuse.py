"""`hgm diffuse`: what it writes is what the library samples, conditioned and measured as it says, or one line."""

import csv
import re
import typing

import numpy as np
import pytest
import torch
from oracles.enumeration import Joint

import hgm
from hgm.cli.diffusion import diffuse
from hgm.evidence.told import told

pytest.importorskip("diffusers")

MODEL = """\
hgm: 1
variables: {weather: [sunny, rainy], grass: [dry, wet], "a,b": 3}
roots: [weather]
factors:
  - {scope: [weather], table: [0.8, 0.2]}
  - {scope: [weather, grass], table: [[0.9, 0.1], [0.0, 1.0]]}
  - {scope: [weather, "a,b"], table: [[0.4, 0.3, 0.3], [0.1, 0.1, 0.8]]}
"""
GRID = "{hgm: 1, root: {states: 4, name: label}, levels: [{arity: [2, 2], states: 3}, {arity: [2, 2], states: 2}]}"


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "weather.yaml"
    path.write_text(MODEL)
    return str(path)


@pytest.fixture
def grid(tmp_path):
    path = tmp_path / "grid.yaml"
    path.write_text(GRID)
    return str(path)


# ---------------------------------------------------------------------- what it writes


def test_npz_holds_what_the_library_samples(grid, tmp_path, run):
    out = tmp_path / "x.npz"
    said = run(
        "diffuse",
        grid,
        "-o",
        out,
        "-n",
        6,
        "--steps",
        7,
        "--seed",
        3,
        "--values=-1,2",
        "-e",
        "label=2",
        "--scheduler",
        "heun",
    )
    assert said == f"wrote {out}: 6 samples of 16 leaves\n"
    denoiser = hgm.diffusion.Denoiser(hgm.load(grid), hgm.Gaussian([-1, 2]), {"label": 2})
    want = hgm.diffusion.sample(denoiser, "heun", 6, steps=7, generator=torch.Generator().manual_seed(3))
    with np.load(out) as data:
        assert set(data) == {"samples", "values"} and data["values"].tolist() == [-1, 2]
        assert data["samples"].shape == (6, 4, 4) and data["samples"].dtype == np.float32
        np.testing.assert_array_equal(data["samples"], want.numpy())


def test_csv_has_a_column_for_each_leaf_and_the_same_values(model, tmp_path, run):
    args = ("diffuse", model, "-n", 5, "--values", "0,10,30", "--scheduler", "heun", "--steps", 4)
    run(*args, "-o", tmp_path / "x.csv")
    run(*args, "-o", tmp_path / "x.npz")
    head, *rows = csv.reader((tmp_path / "x.csv").read_text().splitlines())
    assert head == ["grass", "a,b"]
    with np.load(tmp_path / "x.npz") as data:
        np.testing.assert_allclose(np.array(rows, dtype=float), data["samples"], rtol=1e-5)


def test_the_same_seed_gives_the_same_samples(model, tmp_path, run):
    texts = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        run("diffuse", model, "-o", tmp_path / f"{name}.csv", "-n", 20, "--steps", 3, "--seed", seed)
        texts.append((tmp_path / f"{name}.csv").read_bytes())
    assert texts[0] == texts[1] != texts[2]


@pytest.mark.parametrize(("kind", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
@pytest.mark.parametrize("what", ["model", "grid"])
def test_pictures_of_grids_and_of_lines(request, tmp_path, run, what, kind, start):
    out = tmp_path / f"x.{kind}"
    run("diffuse", request.getfixturevalue(what), "-o", out, "-n", 3, "--steps", 2)
    assert out.read_bytes().startswith(start)


def test_a_model_is_sampled_in_parts_that_fit(grid, tmp_path, run, monkeypatch):
    seen = []
    sample = hgm.diffusion.sampler.sample
    monkeypatch.setattr("hgm.cli.diffusion.AT_ONCE", 200)  # 21 variables of up to 4 states: two at once
    monkeypatch.setattr(
        hgm.diffusion.sampler, "sample", lambda *a, **o: seen.append(o["batch_size"]) or sample(*a, **o)
    )
    run("diffuse", grid, "-o", tmp_path / "x.npz", "-n", 5, "--steps", 2)
    with np.load(tmp_path / "x.npz") as data:
        assert seen == [2] and len(data["samples"]) == 5 and np.isfinite(data["samples"]).all()


def test_every_scheduler_of_the_library_can_be_asked_for():
    hint = typing.get_type_hints(diffuse)["scheduler"]
    assert set(typing.get_args(hint)) == set(hgm.diffusion.schedulers.NAMES)


# ---------------------------------------------------------------------- evidence


def test_given_leaves_stay_and_the_others_follow(model, tmp_path, run):
    run("diffuse", model, "-o", tmp_path / "x.csv", "-n", 300, "-e", "grass=dry", "--scheduler", "heun", "--steps", 20)
    rows = np.array(list(csv.reader((tmp_path / "x.csv").read_text().splitlines()))[1:], dtype=float)
    assert (rows[:, 0].round() == 0).all()
    share = np.bincount(rows[:, 1].round().astype(int), minlength=3) / len(rows)  # it is sunny
    assert share == pytest.approx([0.4, 0.3, 0.3], abs=0.1)


def test_evidence_from_a_file(model, tmp_path, run):
    (tmp_path / "seen.yaml").write_text("weather: rainy\n")
    args = ("diffuse", model, "-n", 10, "--steps", 3)
    run(*args, "-o", tmp_path / "a.csv", "--evidence-file", tmp_path / "seen.yaml")
    run(*args, "-o", tmp_path / "b.csv", "-e", "weather=rainy")
    assert (tmp_path / "a.csv").read_text() == (tmp_path / "b.csv").read_text()


SEEN = {
    "nothing": ({}, {}),
    "a state": ({"weather": "rainy"}, {"weather": [0, 1]}),
    "leaves": (
        {"grass": "wet", "a,b": hgm.Likelihood([0.5, 0.0, 2.0])},
        {"grass": [0, 1], "a,b": [0.5, 0.0, 2.0]},
    ),
}


@pytest.mark.parametrize("name", SEEN)
def test_the_tree_given_evidence_is_the_posterior(model, name):
    seen, likelihoods = SEEN[name]
    tree = hgm.load(model)
    given = told(tree, seen or None)
    assert given.names == tree.names and given.leaf_shape == tree.leaf_shape
    assert [given.labels(v) for v in range(len(tree))] == [tree.labels(v) for v in range(len(tree))]

    def joint(of):
        factors = [(of.scope_names(f), of.potential_of(f).values) for f in range(of.factors)]
        return Joint(list(of.names), of.cardinality.tolist(), factors)

    want = joint(tree).given({name: np.array(x) for name, x in likelihoods.items()})
    np.testing.assert_allclose(joint(given).probability, want.probability, atol=1e-12)


def test_the_tree_given_evidence_keeps_its_grid(grid):
    tree = hgm.load(grid)
    leaf = tree.names[int(tree.leaves[0])]
    assert told(tree, {"label": 1, leaf: 1}).leaf_shape == tree.leaf_shape == (4, 4)


@pytest.mark.long
@pytest.mark.parametrize("evidence", [(), ("-e", "weather=rainy"), ("-e", "grass=wet", "-e", "weather=1,3")])
def test_quality_is_held_against_the_model_given_the_evidence(model, tmp_path, run, evidence):
    args = ("diffuse", model, "-o", tmp_path / "x.npz", "-n", 200, "--scheduler", "heun", *evidence)
    plain = run(*args).rstrip("\n")
    out = run(*args, "--quality")
    assert out.startswith(plain + "\n\n200 samples against the tree")
    p = [float(line.split()[-1]) for line in out.splitlines() if re.match(r"(log likelihood|leaves|pairs) ", line)]
    assert len(p) == 3 and min(p) > 1e-4


# ---------------------------------------------------------------------- bad input


REFUSALS = {
    "no samples": (["-o", "x.csv", "-n", "0"], "'-n' / '--count': Input should be greater than or equal to 1"),
    "no steps": (["-o", "x.csv", "--steps", "0"], "'--steps': Input should be greater than or equal to 1"),
    "too many steps": (["-o", "x.csv", "--steps", "2000"], "cannot take 2000 steps"),
    "no file": ([], "Missing option '--out' / '-o'"),
    "another ending": (["-o", "x.gif"], "a file of samples must end in .csv, .npz, .png, .svg or .pdf"),
    "a folder that is not there": (["-o", "nowhere/x.csv", "--steps", "2"], "nowhere/x.csv cannot be written"),
    "too few values": (["-o", "x.csv", "--values", "0,1"], "Gaussian has values for 2 states, but the leaves have 3"),
    "values that are none": (["-o", "x.csv", "--values", "0,a,1"], "'0,a,1'"),
    "values that are one": (["-o", "x.csv", "--values", "0,1,1", "--quality"], "states 1 and 2 have the same value"),
    "an unknown scheduler": (["-o", "x.csv", "--scheduler", "dim"], "'dim' is not one of 'ddim'"),
    "an unknown variable": (["-o", "x.csv", "-e", "snow=yes"], "no variable 'snow'"),
    "an unknown state": (["-o", "x.csv", "-e", "grass=blue"], "no state 'blue'; its states are dry, wet"),
    "evidence that cannot be": (["-o", "x.csv", "-e", "weather=rainy", "-e", "grass=dry"], "what is known of variable"),
    "too many samples": (["-o", "x.csv", "-n", "99999999999"], "99,999,999,999 samples of 3 variables are too many"),
    "too many for a picture": (["-o", "x.png", "-n", "401"], "a picture shows at most 400 samples; got 401"),
    "quality of one sample": (["-o", "x.csv", "-n", "1", "--quality"], "at least 2 samples; give -n 2"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_bad_input_is_one_line_and_writes_nothing(model, tmp_path, monkeypatch, refused, name):
    args, words = REFUSALS[name]
    monkeypatch.chdir(tmp_path)
    assert words in refused("diffuse", model, *args)
    assert [path.name for path in tmp_path.iterdir()] == ["weather.yaml"]


@pytest.mark.parametrize(
    "name", ["too many samples", "too many for a picture", "quality of one sample", "evidence that cannot be"]
)
def test_what_can_be_refused_at_once_is(model, tmp_path, monkeypatch, refused, name):
    def sample(*_, **__):
        raise AssertionError("too late")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(hgm.diffusion.sampler, "sample", sample)
    args, words = REFUSALS[name]
    assert words in refused("diffuse", model, *args)


def test_two_leaves_of_one_text_are_refused(tmp_path, refused):
    (tmp_path / "twins.yaml").write_text('variables: [[1, 2], ["1", 2]]')
    line = refused("diffuse", tmp_path / "twins.yaml", "-o", tmp_path / "x.csv", "--steps", 1)
    assert "have the same text" in line and not (tmp_path / "x.csv").exists()


@pytest.mark.parametrize(
    ("library", "extra", "out"), [("diffusers", "diffusion", "x.csv"), ("matplotlib", "demo", "x.png")]
)
def test_a_missing_library_is_named(model, tmp_path, monkeypatch, refused, library, extra, out):
    monkeypatch.setitem(__import__("sys").modules, library, None)
    line = refused("diffuse", model, "-o", tmp_path / out)
    assert library in line and f"pip install 'hgm[{extra}]'" in line and not (tmp_path / out).exists()
