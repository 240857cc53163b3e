"""The study of samples: its fits on known laws, its parser on known strings, and what it writes."""

import json

import numpy as np
import pytest
import torch

import hgm
from hgm.cli import main
from hgm.errors import BadSpec
from hgm.measure.threshold import siblings
from hgm.study.cells import Finished
from hgm.study.fits import crossing, mean_of, power_law
from hgm.study.grammar import obeyed, unused
from hgm.study.sample_complexity_cells import BASE, SIDES, cells, measure, noisy_copies, quick_cells
from hgm.study.sample_complexity_laws import diffusion, grammar
from hgm.study.strided import Shape, StridedConvNet, StridedUNet

ERM = {"part": "erm", "start": "random", "task": "classify", **BASE, "L": 2, "seed": 0, "steps": 300}


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def test_an_exponent_is_found_and_its_interval_covers_it_as_often_as_it_says():
    rng, x, covered = np.random.default_rng(0), np.array([1.0, 2.0, 5.0, 20.0]), 0
    for _ in range(400):
        y = 3 * x**-0.7 * np.exp(0.2 * rng.standard_normal((4, 4)))
        (exponent,) = power_law(x, y).exponents
        covered += exponent.low < -0.7 < exponent.high
    assert 0.92 < covered / 400 < 0.98


def test_a_law_of_two_powers_has_both_and_nothing_left():
    x = np.array([[1, 2], [2, 3], [4, 2], [3, 7], [5, 5]], dtype=float)
    y = x[:, 0] ** 1.5 * x[:, 1] ** -2
    fit = power_law(x, np.stack([y, 4 * y]))
    assert [e.value for e in fit.exponents] == pytest.approx([1.5, -2]) and fit.left < 1e-9
    assert [e.high - e.low for e in fit.exponents] == pytest.approx([0, 0], abs=1e-9)


def test_what_a_fit_leaves_is_the_root_mean_square_of_logs():
    """(1, 10, 100) against (1, e, 1): the line is flat, at 1/3, and leaves -1/3, 2/3, -1/3."""
    assert power_law([1, 10, 100], [[1, np.e, 1]] * 2).left == pytest.approx((2 / 9) ** 0.5)


def test_no_law_is_fitted_to_too_little_or_to_what_is_not_positive():
    for x, y in (([1, 2, 3], [[1, 2, 3]]), ([1, 2], [[1, 2]] * 2), ([1, 2, 3], [[1, 0, 2]] * 2)):
        with pytest.raises(BadSpec):
            power_law(x, y)


def test_the_interval_of_a_mean_is_students():
    """Three numbers of mean 2 and standard deviation 1: 4.303 / sqrt 3."""
    assert mean_of([1, 2, 3]) == pytest.approx((2, 2 - 2.4842, 2 + 2.4842), abs=1e-3)


def test_a_crossing_lies_between_in_logs_and_is_none_outside():
    assert crossing([1, 100, 1000], [0.9, 0.1, 0.3], 0.5) == pytest.approx(10)
    assert crossing([1, 10], [0.9, 0.6], 0.5) is None
    assert crossing([1, 10], [0.4, 0.1], 0.5) is None


@pytest.mark.parametrize(("arity", "depth"), [(2, 3), (3, 2), ((2, 2), 2)])
def test_exact_strings_obey_every_rule_at_every_level(arity, depth):
    tree = hgm.rhm(6, 3, arity, depth, classes=4, seed=1)
    could, do = obeyed(tree, hgm.infer(tree).sample(50, generator=seeded(0)).leaves)
    nodes = [int((tree.level == level).sum()) for level in reversed(range(depth))]
    assert could.tolist() == do.tolist() == [50 * n for n in nodes]


def test_independent_symbols_obey_rules_as_chance_says():
    """Of 8 x 8 words, 3 of 8 are right-hand sides of levels 1 and 2, and 16 times 3 of the 64 at the root."""
    could, do = obeyed(hgm.rhm(8, 3, 2, 3, classes=16, seed=1), torch.randint(8, (20_000, 8), generator=seeded(0)))
    assert could[0] == 80_000 and could[1] < 0.2 * could[0]
    error = 4 * (0.25 / could) ** 0.5
    expected = [3 / 8, 3 / 8, 3 / 4]
    assert (abs(do / could - expected)[:1] < error[:1]).all()  # above, parents are not uniform
    assert (abs(do / could - expected) < 0.1).all()


@pytest.mark.parametrize(("arity", "depth"), [(2, 3), (3, 2)])
def test_the_posterior_leaves_nothing_unused_and_what_knows_no_siblings_leaves_all(arity, depth):
    tree = hgm.rhm(5, 2, arity, depth, seed=1)
    rows = hgm.infer(tree).sample(400, generator=seeded(0)).leaves
    exact = hgm.compile(tree, task="posterior")

    def words_alone(z):
        """Every word of the lowest level by itself: nothing else is shown."""
        out = torch.empty(len(z), 5, z.shape[1])
        for first in range(0, z.shape[1], arity):
            alone = torch.full_like(z, -1)
            alone[:, first : first + arity] = z[:, first : first + arity]
            out[..., first : first + arity] = exact(alone)[..., first : first + arity]
        return out

    assert unused(tree, exact, rows) == pytest.approx([0] * depth, abs=1e-6)
    known, not_known, *worse = unused(tree, words_alone, rows)  # worse where words hang together that are both hidden
    assert (known, not_known) == pytest.approx((0, 1), abs=1e-6) and all(share > 1 for share in worse)


def test_what_is_unused_of_one_pair_is_a_ratio_of_entropies():
    """Uniform answers to pairs: log 2 - H(b|a) nats of the log 2 - H(b|a) that are told, b being uniform itself."""
    tree = hgm.ghm([hgm.Level(2, 2, hgm.Edge([[0.9, 0.1], [0.1, 0.9]]))], 2)
    rows = hgm.infer(tree).sample(2000, generator=seeded(0)).leaves
    assert unused(tree, lambda z: torch.full((len(z), 2, 2), 0.5), rows) == pytest.approx([1])


def test_one_wrong_leaf_is_wrong_at_its_parent_and_keeps_those_above_from_being_asked():
    """Two symbols, of which 0 becomes (0, 0) and 1 becomes (1, 1): the leaves of a root 1, one of them turned over."""
    tree = hgm.ghm([hgm.Level(2, 2, hgm.Rules((2, 2, 2), [[0, 0, 0], [1, 1, 1]]))] * 2, 2)
    assert [c.tolist() for c in obeyed(tree, torch.tensor([[1, 1, 1, 1]]))] == [[2, 1], [2, 1]]
    assert [c.tolist() for c in obeyed(tree, torch.tensor([[1, 1, 1, 0]]))] == [[2, 0], [1, 0]]
    assert [c.tolist() for c in obeyed(tree, torch.tensor([[1, 1, 0, 0]]))] == [[2, 1], [2, 0]]


def test_only_grammars_are_parsed():
    for tree in (
        hgm.broadcast(2, 2, 2),
        hgm.ghm([hgm.Level(2, 2, hgm.Rules((2, 2, 2), [[0, 0, 0], [1, 0, 0]]))], 2),  # ambiguous
    ):
        with pytest.raises(BadSpec):
            obeyed(tree, torch.zeros(1, len(tree.leaves), dtype=torch.int64))


def test_strided_networks_see_pairs_and_missing_symbols():
    net, unet = StridedConvNet(Shape(5, 2, 3, 16), 4), StridedUNet(Shape(5, 2, 3, 16))
    z = torch.randint(5, (6, 8), generator=seeded(0))
    assert torch.allclose(net(z).sum(1), torch.ones(6)) and net(z).shape == (6, 4)
    assert torch.allclose(unet(z).sum(1), torch.ones(6, 8)) and unet(z).shape == (6, 5, 8)
    hidden = z.clone()
    hidden[:, 3] = -1
    a, b = net.encoded(z), net.encoded(hidden)
    for level, (one, other) in enumerate(zip(a, b, strict=True)):
        changed = (one != other).any(1).any(0)
        assert changed.tolist() == [i == 3 // 2**level for i in range(8 // 2**level)]


def test_a_missing_symbol_is_none_and_the_finest_skip_shows_each_its_own():
    torch.manual_seed(0)
    unet = StridedUNet(Shape(3, 2, 2, 16))
    z = torch.tensor([[0, 1, 2, -1]])
    assert unet.encoded(z)[0][0].T.tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0]]
    with torch.no_grad():
        for weight in unet.up.parameters():
            weight.zero_()  # nothing comes from above
    out = unet(torch.tensor([[0, 1, 2, 0]]))[0].T
    assert torch.allclose(out[0], out[3]) and not torch.allclose(out[0], out[1])


def test_every_symbol_of_the_u_net_sees_all_others():
    torch.manual_seed(0)
    unet = StridedUNet(Shape(3, 2, 3, 32))
    z = torch.zeros(1, 8, dtype=torch.int64)
    for i in range(8):
        other = z.clone()
        other[0, i] = 1
        assert ((unet(z) - unet(other)).abs().amax(1) > 0).all()


def test_trees_stand_on_both_sides_of_the_threshold():
    above, below = ([siblings(noisy_copies(3, 3, 2, keep, seed)) for seed in range(3)] for keep in SIDES)
    assert np.min(above) > 1 > np.max(below)


def test_every_training_is_another_and_says_all_that_it_depends_on():
    for some in (list(cells()), list(quick_cells())):
        assert len({json.dumps(cell, sort_keys=True) for cell in some}) == len(some)
    assert measure({**ERM, "n": 50, "steps": 5}) == measure({**ERM, "n": 50, "steps": 5})


@pytest.mark.long
def test_a_hundred_times_the_samples_have_less_excess_and_the_exact_start_has_least():
    few, many = (measure({**ERM, "n": n}) for n in (30, 3000))
    assert few["low"] > 2 * many["high"]
    assert measure({**ERM, "n": 3000, "start": "exact"})["excess"] < many["excess"]


@pytest.mark.long
def test_a_convnet_learns_a_grammar_from_many_strings_and_not_from_few():
    cell = {"part": "grammar", "v": 6, "m": 3, "L": 2, "classes": 6, "steps": 300, "seed": 0}
    few, many = (measure({**cell, "n": n}) for n in (20, 400))
    assert few["error"] > 0.4 and many["error"] < 0.1 and few["trained"] < 0.1 and many["trained"] < 0.1
    assert few["new"] > many["new"] > 50


@pytest.mark.long
def test_a_diffusion_model_learns_low_levels_first():
    cell = {"part": "diffusion", "v": 8, "m": 3, "L": 3, "steps": 300, "patience": None, "seed": 0, "n": 2000}
    found = measure(cell)
    share = np.array(found["do"]) / found["could"]
    assert found["could"][0] == 4000 and share[0] > 0.9 and share[0] > share[1] + 0.1 and share[1] > share[2]


def test_a_perfect_collapse_has_exponent_one_and_no_spread():
    """An error that halves with every doubling of n / (n_c m^L), for every grammar."""
    done = []
    for m, depth, classes in ((2, 2, 8), (3, 2, 8), (3, 3, 8), (2, 2, 4)):
        for ratio in (1, 2, 4, 8, 16):
            for seed in (0, 1):
                n = ratio * classes * m**depth
                cell = {"part": "grammar", "v": 8, "m": m, "L": depth, "classes": classes, "n": n, "steps": 9}
                error = (1 - 1 / classes) * min(1, 0.9 / ratio)
                done.append(Finished({**cell, "seed": seed}, {"error": error, "new": 99, "trained": 0.0}, 1.0))
    found = grammar(done)
    for name in ("half", "tenth"):
        assert found[name]["exponent"]["value"] == pytest.approx(1) and found[name]["of"] == 4
        assert found[name]["spread"] == pytest.approx(0, abs=1e-9) and found[name]["range"] > 0.3
        assert found[name]["classes"]["value"] == pytest.approx(1) == found[name]["rules"]["value"]
    assert 1 < found["half"]["low"] < 2 and 8 < found["tenth"]["high"] < 16


@pytest.mark.long
def test_the_command_writes_words_tables_figures_and_data(tmp_path, capsys):
    assert main(["study", "sample-complexity", "--quick", "-o", str(tmp_path)]) == 0
    names = {"study.json", "study.md", "cells.jsonl", "excess.svg", "grammar.svg", "diffusion.svg"}
    assert {p.name for p in tmp_path.iterdir()} == names
    found = json.loads((tmp_path / "study.json").read_text())
    for task in ("classify", "denoise"):
        curve = found["excess"][task]["curves"]["random"]
        assert curve["x"] == [100, 300, 1000] and len(curve["y"]) == 2 and "exponent" in curve
        assert found["excess"][task]["siblings"][0]["low"] > 1
    assert len(found["grammar"]["settings"]) == 2 and found["diffusion"]["laws"][0]["among"] == 1
    text = (tmp_path / "study.md").read_text()
    assert "nan" not in text and "2404.18444" in text and text.count("\n## ") == 4
    for name in ("excess", "grammar", "diffusion"):
        assert "<?xml" in (tmp_path / f"{name}.svg").read_text()[:20]
    capsys.readouterr()
    assert main(["study", "sample-complexity", "--quick", "-o", str(tmp_path)]) == 0  # nothing is left to do
    assert "1/28" not in capsys.readouterr().out


def test_levels_that_need_powers_of_m_have_these_exponents():
    """Of level l half is unused at 3 m^(l + 1) samples, and less the more there are."""
    done = []
    for m in (2, 3, 4):
        for n in (1, 10, 100, 1000, 10_000):
            for seed in (0, 1):
                cell = {"part": "diffusion", "v": 8, "L": 2, "steps": 9, "m": m, "n": n, "seed": seed}
                left = [1 / (1 + n / (3 * m ** (level + 1))) for level in (1, 2)]
                found = {"unused": left, "could": [4, 2], "do": [4, 1], "copied": 0.0}
                done.append(Finished(cell, found, 1.0))
    data = diffusion(done)
    laws = {(law["level"], law["share"]): law["exponent"]["value"] for law in data["laws"]}
    assert data["obeyed"] == [{"m": m, "n": 10_000, "shares": [1, 0.5]} for m in (2, 3, 4)]
    for level in (1, 2):
        assert laws[level, "half"] == pytest.approx(level + 1, abs=0.25)
