"""The study of U-Nets: its cells, its arithmetic against hand-made numbers, its limits, and what it writes."""

import json
from itertools import accumulate
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import hgm
from hgm.cli import main
from hgm.study import why_unet
from hgm.study.cells import Finished
from hgm.study.why_unet import COMPUTE, MAIN, NOISE, limit, measure, plan, radius_of, training
from hgm.study.why_unet_finding import finding
from hgm.study.why_unet_results import Mean, Results, crossing

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def groups():
    return list(plan())


def row(noise, excess, half=0.0, optimum=0.5):
    return dict(
        zip(
            ("noise", "optimum", "excess", "low", "high"),
            (noise, optimum, excess, excess - half, excess + half),
            strict=True,
        )
    )


def trained(network, seed, excess, tree="above", share=1, radius=None, half=0.0):
    cell = {"tree": tree, "network": network, "seed": seed, "share": share, "size": 1}
    found = {"levels": [row(s, excess, half) for s in (1.0, 2.0)], "radius": radius, "compute": 1e9 * share}
    return Finished(cell, found | {"parameters": 10, "multiply_adds": 100, "seconds": 1.0}, 1.0)


def window(radius, excess, half=0.0):
    found = {"levels": [row(s, excess, half) for s in (1.0, 2.0)]}
    return Finished({"tree": "above", "ablation": "window", "radius": radius}, found, 1.0)


# ------------------------------------------------------------------------------ cells


def test_the_plan_has_what_is_asked_for(groups):
    cells = [cell for group in groups for cell in group]
    seeds = {(c["tree"], c["network"], c["share"], c["size"]): set() for c in cells if "network" in c}
    for c in cells:
        if "network" in c:
            seeds[c["tree"], c["network"], c["share"], c["size"]].add(c["seed"])
    assert all(seeds["above", name, 1, 1] == set(range(5)) for name in MAIN)
    for tree in ("below", "line"):
        assert all(seeds[tree, name, 0.5, 1] == {0, 1} for name in MAIN)
    left = set(hgm.baselines.names()) - {key[1] for key in seeds}
    assert left == {"relu", "relu_random", "cnn_7", "cnn_11", "cnn_15"}
    assert len({json.dumps(cell, sort_keys=True) for cell in cells}) == len(cells)


def test_compute_is_the_same_for_all(groups):
    for cell in groups[0] + groups[-1]:
        if "network" in cell and not cell["network"].startswith("compiled"):
            tree = why_unet.TREES[cell["tree"]]()
            net = hgm.baselines.make(
                cell["network"], tree, hgm.Gaussian([-1.5, -0.5, 0.5, 1.5]), parameters=cell["parameters"]
            )
            spent = hgm.baselines.describe(net)["multiply_adds"] * cell["steps"] * cell["batch"]
            assert spent == pytest.approx(cell["share"] * COMPUTE, rel=0.005), cell


def test_every_network_with_a_window_has_its_limit_in_the_plan(groups):
    radii = {cell["radius"] for group in groups for cell in group if cell.get("ablation") == "window"}
    assert {0, 1, 2, 4, 10} <= radii


@pytest.mark.parametrize(("name", "radius"), [("cnn_1", 0), ("cnn_3", 1), ("cnn_9", 4), ("cnn_21", 10), ("unet", None)])
def test_a_radius_is_that_of_the_convolutions(name, radius):
    assert radius_of(why_unet._narrow("above", name)) == radius


def test_what_halves_its_resolution_sees_no_further_from_anywhere():
    """The U-Net on the line: found near its ends, held against all positions."""
    net = why_unet._narrow("line", "unet")
    far = [np.abs(np.argwhere(hgm.receptive_field(net, at=v, inputs=2).support) - v).max() for v in range(128)]
    assert radius_of(net) == max(far) < 127


def test_a_normalisation_over_positions_has_no_limit():
    assert radius_of(why_unet._narrow("small", "standard_convolutional")) is None


def test_limits_shrink_as_windows_grow_and_silent_skips_are_worse_than_none():
    excess = [[r["excess"] for r in measure(limit("small", "window", radius=r))["levels"]] for r in (0, 1, 3)]
    assert all(a > b for a, b in zip(excess[0], excess[1], strict=True))
    assert all(a > b for a, b in zip(excess[1], excess[2], strict=True))
    silent = [r["excess"] for r in measure(limit("small", "skips", level=1))["levels"]]
    assert silent[0] > excess[0][0] and silent[-1] < excess[0][-1]


def test_bits_are_the_information_between_a_node_and_the_leaves_below():
    """By enumeration: level 2 of the small tree is a node with 4 leaves."""
    found = {r["noise"]: r["bits"] for r in measure(limit("small", "bits", level=2) | {"samples": 4000})["levels"]}
    values, g = torch.tensor([-1.5, -0.5, 0.5, 1.5]), torch.Generator().manual_seed(7)
    channel = torch.full((4, 4), 0.05) + torch.eye(4) * 0.8
    node = torch.randint(4, (4000,), generator=g)
    leaves = torch.multinomial(channel[node], 4, replacement=True, generator=g)
    for noise in (0.5, 2.0):
        z = values[leaves] + noise * torch.randn(4000, 4, generator=g)
        like = torch.exp(-((z[..., None] - values) ** 2) / (2 * noise**2))  # (B, leaf, state)
        p = torch.einsum("bls,ns->bln", like, channel).prod(1)
        p = p / p.sum(1, keepdim=True)
        assert found[noise] == pytest.approx(2 + float((p * p.log2()).sum(1).mean()), abs=0.05)


# ------------------------------------------------------------------------------ arithmetic


def test_intervals_hold_seeds_and_samples():
    """Student's t of 2 degrees of freedom is 4.3027; of two seeds the scatter is that of all networks."""
    results = Results([trained("unet", seed, x, half=0.03) for seed, x in enumerate((0.1, 0.2, 0.3))])
    mean = results.get("above", "unet").at(2.0)
    half = ((4.3027 * 0.1 / 3**0.5) ** 2 + 0.03**2) ** 0.5
    assert mean == (pytest.approx(0.2), pytest.approx(0.2 - half, rel=1e-4), pytest.approx(0.2 + half, rel=1e-4))
    pair = Results(
        [trained("unet", 0, 0.1), trained("unet", 1, 0.2), trained("cnn_5", 0, 0.3), trained("cnn_5", 1, 0.3)]
    )
    scatter = np.log(2) / 2**0.5 / 2**0.5  # squares of log 2 / sqrt 2 and of 0, over two degrees of freedom
    mean = pair.get("above", "cnn_5").at(1.0)
    assert mean.high - mean.value == pytest.approx(0.3 * scatter * 4.3027 / 2**0.5, rel=1e-4)


def test_the_excess_is_the_limit_and_the_rest():
    results = Results([trained("cnn_5", 0, 0.3, radius=2), trained("unet", 0, 0.1), window(2, 0.25), window(4, 0.2)])
    part, _ = results.parts(results.get("above", "cnn_5"))
    assert (part.limit, part.training) == (0.25, pytest.approx(0.05))
    assert (
        results.parts(results.get("above", "unet"))[0].limit == 0
        and results.bound(results.get("above", "unet")) is None
    )


@pytest.mark.parametrize(("half", "beaten"), [(0.01, 2), (0.1, 0)])
def test_what_beats_its_limit_is_found(half, beaten):
    results = Results([trained("cnn_5", 0, 0.2, radius=2, half=half), trained("unet", 0, 0.1), window(2, 0.25)])
    count, where = results.beaten()
    assert count == 2 and len(where) == beaten
    said = next(p for p in finding(results, {}).paragraphs if "limits kept" in p)
    assert ("nowhere" in said) == (beaten == 0)


def test_a_curve_crosses_a_risk_between_its_points():
    curve = [(x, Mean(y, y, y)) for x, y in ((1.0, 0.4), (4.0, 0.1))]
    assert crossing(curve, 0.2) == (pytest.approx(2.0), True)
    assert crossing(curve, 0.5) == (1.0, False) and crossing(curve, 0.05) is None


# ------------------------------------------------------------------------------ what is written


def made_up(cell):
    """What a cell might find; no network and no tree is needed."""
    rng = np.random.default_rng(len(json.dumps(cell)))
    levels = [row(s, float(rng.uniform(0.01, 0.2)), 0.005) for s in NOISE]
    if cell.get("ablation") == "bits":
        return {"levels": [{"noise": s, "bits": 1.0} for s in NOISE]}
    if "ablation" in cell:
        return {"levels": [row(s, 1e-4, 1e-5) for s in NOISE]}
    radius = int(cell["network"].removeprefix("cnn_")) // 2 if cell["network"].startswith("cnn") else None
    sizes = {"parameters": cell["parameters"], "multiply_adds": 1000, "compute": cell["share"] * 1e9}
    return {"levels": levels, "radius": radius, "seconds": 1.0, **sizes}


def test_a_finding_is_written_after_every_group(groups, tmp_path):
    """Whatever is missing is left out; at the end everything is said."""
    for some in [*accumulate(groups)][::-4][::-1]:
        results = Results([Finished(cell, made_up(cell), 1.0) for cell in some])
        found = finding(results, {})
        assert all("nan" not in p and "None" not in p for p in found.paragraphs)
    found.write(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"study.json", "study.md", "excess.svg", "parts.svg", "compute.svg"}
    said = "\n".join(found.paragraphs)
    for begins in (
        "Why not",
        "skips for",
        "Which skip",
        "resolutions",
        "equal risk",
        "Below",
        "time",
        "bottleneck",
        "stride",
    ):
        assert begins in said
    assert len(json.loads((tmp_path / "study.json").read_text())["cells"]) == len(results.cells)


def test_the_command_writes_table_plots_and_data(tmp_path, capsys):
    assert main(["study", "why-unet", "--quick", "-o", str(tmp_path)]) == 0
    assert "Set-up" in capsys.readouterr().out
    assert {p.name for p in tmp_path.iterdir()} == {"cells.jsonl", "study.json", "study.md", "excess.svg", "parts.svg"}
    found = json.loads((tmp_path / "study.json").read_text())
    assert found["siblings"]["small"] == [pytest.approx(2.56, rel=1e-5)] * 3
    assert {run["network"] for run in found["runs"]} == {"unet", "autoencoder", "cnn_3"}
    assert found["beaten"] == {"checks": 6, "where": []}


@pytest.fixture(scope="module")
def small():
    """Three networks on 8x8 leaves, trained for some seconds."""
    cells = [
        training("small", name, 0) | {"parameters": 20_000, "steps": 250, "rate": 1e-2}
        for name in ("unet", "autoencoder", "cnn_3")
    ]
    cells.append(limit("small", "window", radius=1))
    return Results([Finished(cell, measure(cell), 1.0) for cell in cells])


def test_networks_without_skips_are_far_above_those_with(small):
    with_, without = small.get("small", "unet"), small.get("small", "autoencoder")
    assert all(without.at(s).value > 2 * with_.at(s).value for s in (0.25, 0.5))


def test_no_network_beats_its_limit_and_the_best_is_near_it(small):
    count, where = small.beaten()
    assert count == len(NOISE) and not where
    part = next(p for p in small.parts(small.get("small", "cnn_3")) if p.noise == 4.0)
    assert part.limit > 0.1 and 0 < part.training < part.limit


def test_the_same_cell_gives_the_same_network():
    cell = training("small", "cnn_3", 3) | {"parameters": 5_000, "steps": 3}
    one, again, other = measure(cell), measure(cell), measure(cell | {"seed": 4})
    assert one["levels"] == again["levels"] != other["levels"]


def test_seeds_are_also_of_the_weights(monkeypatch):
    monkeypatch.setattr(why_unet, "train", lambda net, *given, **settings: SimpleNamespace(history=[]))
    cell = training("small", "cnn_3", 3) | {"parameters": 5_000}
    assert measure(cell)["levels"] != measure(cell | {"seed": 4})["levels"]
