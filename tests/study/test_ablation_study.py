"""The study of ablations: its measurements against enumeration and a published table, its numbers, what it writes."""

import itertools
import json
import re
from math import inf, isnan, log, pi

import numpy as np
import pytest

import hgm
from hgm.cli import main
from hgm.study.ablation_cells import DECIDED, Asked, asked, measure, reach
from hgm.study.ablation_results import Results
from hgm.study.ablation_tables import half_gone, layers
from hgm.study.ablation_trees import QUICK, REACH, REACH_QUICK, SUBJECTS, Subject, built, symmetric
from hgm.study.cells import FILE

FULL = [pair for s in SUBJECTS for pair in asked(s)] + [pair for s in REACH for pair in reach(s)]


# ---------------------------------------------------------------------- cells


def test_every_cell_is_another_one_and_has_a_name_of_its_own():
    by_name = dict(FULL)  # trees of both lists have the same names
    assert all(by_name[name] == cell for name, cell in FULL)
    assert len(by_name) == len({json.dumps(cell, sort_keys=True) for cell in by_name.values()})


@pytest.mark.parametrize("subject", [*SUBJECTS, *REACH, *QUICK], ids=lambda s: s.name)
def test_a_subject_is_what_its_name_says(subject):
    tree = built(subject.made)
    assert ("1-D" not in subject.name) == (len(tree.leaf_shape) == 2) == subject.plane
    assert subject.side(0) == tree.leaf_shape[0] and subject.side(subject.depth) == 1
    assert [subject.side(k) ** len(tree.leaf_shape) * len(tree.at_level(k)) for k in range(subject.depth + 1)] == [
        len(tree.leaves)
    ] * (subject.depth + 1)
    for other in subject.others.values():
        assert built(other).leaf_shape == tree.leaf_shape
    if "λ" in subject.name:
        lam, d = float(subject.name.split()[-1]), 4 if subject.plane else 2
        assert hgm.measure.threshold.siblings(tree) == pytest.approx([d * lam**2] * subject.depth)


def test_the_study_is_on_both_sides_of_the_threshold():
    below, above = 0, 0
    for subject in SUBJECTS:
        numbers = hgm.measure.threshold.siblings(built(subject.made))
        below += max(numbers) < 1
        above += min(numbers) > 1
    assert below >= 2 and above >= 3


# ---------------------------------------------------------------------- measurements, against enumeration

S, EPS = 3, 0.2
SMALL = f"broadcast(2, {S}, 2, eps={EPS})"


def enumerated():
    """p of the root, its two children and four leaves, by a product of seven numbers."""
    move = np.full((S, S), EPS / (S - 1))
    np.fill_diagonal(move, 1 - EPS)
    p = np.zeros((S,) * 7)
    for r, a, b, w, x, y, z in itertools.product(range(S), repeat=7):
        p[r, a, b, w, x, y, z] = move[r, a] * move[r, b] * move[a, w] * move[a, x] * move[b, y] * move[b, z] / S
    return p


def entropy(p):
    p = p[p > 0]
    return float(-(p * np.log(p)).sum())


def test_entropies_are_those_of_enumeration():
    found = measure({"ask": "entropies", "tree": SMALL, "n": 4000, "seed": 1})
    p = enumerated()
    leaves, pair, single = (entropy(p.sum(axes)) for axes in ((0, 1, 2), (0, 1, 2, 5, 6), (0, 1, 2, 4, 5, 6)))
    mean, error = found["entropy"]
    assert abs(mean - leaves) < 4 * error and error < 0.02
    assert found["costs"][0] == [0, 0]
    for (mean, error), exact in zip(found["costs"][1:], (2 * pair - leaves, 4 * single - leaves), strict=True):
        assert abs(mean - exact) < 4 * error and error < 0.02
    for (mean, error), exact in zip(found["steps"], (2 * pair - leaves, 4 * single - 2 * pair), strict=True):
        assert abs(mean - exact) < 4 * error
    weights = measure({"ask": "siblings", "tree": SMALL})["siblings"]
    assert weights == pytest.approx([2 * (1 - EPS * S / (S - 1)) ** 2] * 2)


def test_weights_that_do_not_sum_to_one_change_no_entropy():
    made = "random_ghm(1, 2, 2, bound=5, seed=0)"
    prior, first, second = (np.exp(potential.log_potential) for potential in built(made).potentials)
    p = np.einsum("r,ra,rb->ab", prior, first.reshape(2, 2), second.reshape(2, 2))
    assert abs(log(p.sum())) > 0.5
    p /= p.sum()
    found = measure({"ask": "entropies", "tree": made, "n": 4000, "seed": 1})
    for (mean, error), exact in (
        (found["entropy"], entropy(p)),
        (found["costs"][1], entropy(p.sum(0)) + entropy(p.sum(1)) - entropy(p)),
    ):
        assert abs(mean - exact) < 4 * error and error < 0.02


def test_entropies_of_every_level_are_those_of_enumeration_at_both_ends():
    """All is open where noise is large; without noise what is left of the inner nodes is H(node | leaves)."""
    found = measure({"ask": "decided", "tree": SMALL, "n": 3000, "seed": 0, "noise": [1e-2, 1e3]})
    assert found["prior"] == pytest.approx([log(S)] * 3)
    (nothing, everything), p = found["left"], enumerated()
    leaves = entropy(p.sum((0, 1, 2)))
    exact = [entropy(p.sum((1, 2))) - leaves, entropy(p.sum((0, 2))) - leaves, 0.0]
    for (mean, error), expected in zip(nothing, exact, strict=True):
        assert abs(mean - expected) <= 4 * error + 1e-9
    assert [mean for mean, _ in everything] == pytest.approx(found["prior"], abs=1e-3)


def test_an_excess_is_that_of_its_restriction():
    """Of a lone pixel of the small tree: E|E[x | z] - E[x | z_v]|^2 by the differences of two optima, by quadrature."""
    cell = {"ask": "excess", "kind": "window", "radius": 0, "channel": "gaussian", "levels": [1.0], "tree": SMALL}
    found = measure(cell | {"n": 4000, "seed": 0})
    x = np.arange(S) - 1.0
    z = np.linspace(-9, 9, 4001)
    density = np.exp(-((z[:, None] - x) ** 2) / 2) / (2 * pi) ** 0.5 / S
    alone = (x**2).mean() - ((density @ x) ** 2 / density.sum(1)).sum() * (z[1] - z[0])
    assert found["optimum"][0] + found["excess"][0] == pytest.approx(alone, abs=0.01)
    assert found["low"][0] < found["excess"][0] < found["high"][0] and found["excess"][0] > 0.02
    assert found["bound"] and found["nats"] is None
    assert measure(cell | {"n": 20, "seed": 0}) == measure(cell | {"n": 20, "seed": 0})
    assert measure(cell | {"n": 20, "seed": 0})["excess"] != measure(cell | {"n": 20, "seed": 1})["excess"]


def test_nats_are_only_of_what_vanishes_with_the_noise():
    common = {"ask": "excess", "channel": "gaussian", "tree": SMALL, "n": 50, "seed": 0, "levels": None}
    assert measure(common | {"kind": "own"})["nats"] is None
    value, low, high = measure(common | {"kind": "block", "level": 1})["nats"]
    assert 0 <= low < value < high


def test_the_label_is_measured_beside_those_who_know_it():
    cell = {"ask": "excess", "kind": "label", "channel": "gaussian", "levels": [2.0], "tree": SMALL, "n": 50, "seed": 0}
    assert measure(cell)["low"][0] > 0


#: lambda, sigma, and by window or block: the excess per pixel, and its standard error in units of the last digit
PUBLISHED = [
    (0.4, 1, {1: (0.0007,), 2: (0.0003,), 3: (0.0000,)}, {4: (0.0127, 1), 3: (0.0009,), 2: (0.0001,)}),
    (
        0.8, 0.5,
        {1: (0.0113, 3), 2: (0.0030, 1), 3: (0.0007, 1), 5: (0.0001,), 7: (0.0000,)},
        {4: (0.0878, 9), 3: (0.0193, 4), 2: (0.0021, 1), 1: (0.0001,)},
    ),
    (
        0.8, 1,
        {1: (0.0493, 6), 2: (0.0227, 5), 3: (0.0106, 3), 5: (0.0034, 2), 7: (0.0010, 1)},
        {4: (0.2150, 22), 3: (0.0679, 6), 2: (0.0195, 5), 1: (0.0031, 2)},
    ),
    (
        0.8, 4,
        {1: (0.167, 6), 2: (0.104, 3), 3: (0.0627, 14), 5: (0.0293, 6), 7: (0.0135, 4)},
        {4: (0.291, 11), 3: (0.196, 7), 2: (0.0959, 30), 1: (0.0291, 8)},
    ),
    (
        0.8, 8,
        {1: (0.128, 6), 2: (0.0983, 42), 3: (0.0731, 28), 5: (0.0426, 12), 7: (0.0231, 6)},
        {4: (0.169, 8), 3: (0.139, 7), 2: (0.0950, 44), 1: (0.0437, 15)},
    ),
]  # fmt: skip


def check_published(lam, sigma, n, windows, blocks):
    common = {"ask": "excess", "channel": "gaussian", "levels": [float(sigma)], "tree": symmetric(lam, 4, (2, 2))}
    asked_for = [({"kind": "window", "radius": r}, given) for r, given in windows.items()]
    asked_for += [({"kind": "block", "level": k}, given) for k, given in blocks.items()]
    for options, (value, *digits) in asked_for:
        found = measure({**common, **options, "n": n, "seed": 3})
        unit = 0.0001 if sigma < 2 or value < 0.1 else 0.001
        error = (found["high"][0] - found["low"][0]) / 3.92
        theirs = digits[0] * unit if digits else 0.0
        assert abs(found["excess"][0] - value) < 3 * (error**2 + theirs**2) ** 0.5 + unit / 2, options


@pytest.mark.long
def test_some_of_the_published_table_comes_out():
    lam, sigma, windows, blocks = PUBLISHED[2]
    check_published(lam, sigma, 100, {r: windows[r] for r in (1, 3)}, blocks)


@pytest.mark.slow
@pytest.mark.parametrize("row", PUBLISHED, ids=lambda row: f"{row[0]}-{row[1]}")
def test_the_published_table_comes_out(row):
    check_published(row[0], row[1], 300, *row[2:])


# ---------------------------------------------------------------------- numbers

LINE = Subject("line", symmetric(0.8, 2, 2), radii=(0, 1, 2), n=1)
NOISE = np.array([8.0, 4.0, 2.0, 1.0, 0.5])


def excess(share, optimum=None, nats=None, half=0.0):
    optimum = np.ones(len(NOISE)) if optimum is None else np.array(optimum)
    middle = np.array(share) * optimum
    return {
        "noise": NOISE.tolist(), "optimum": optimum.tolist(), "excess": middle.tolist(),
        "low": (middle - half).tolist(), "high": (middle + half).tolist(), "leaves": 4, "bound": True,
        "nats": nats,
    }  # fmt: skip


def test_the_worst_share_is_of_noise_that_leaves_something_uncertain():
    results = Results({Asked("line", "own"): excess([0.1, 0.2, 0.3, 0.2, 9.0], [1, 1, 1, 1, 1e-3], half=0.01)})
    worst, noise = results.curve(Asked("line", "own")).worst
    assert worst == pytest.approx((0.3, 0.29, 0.31)) and noise == 2


def test_shares_between_levels_are_interpolated_in_log_noise():
    results = Results({Asked("line", "own"): excess([0.1, 0.2, 0.4, 0.2, 9.0], [1, 1, 1, 1, 1e-3])})
    what = Asked("line", "own")
    assert results.share(what, 8**0.5).value == pytest.approx(0.3) and results.share(what, 4).value == 0.2
    assert results.share(what, 0.7) is None and results.share(what, 16) is None
    results = Results({**results.found, what._replace(nats=False): excess([0.5] * 5)})
    assert results.share(what, 4).value == 0.5  # measured at given levels as well: by fewer or other samples, but there


def test_the_radius_that_is_needed_is_the_smallest_within_the_share():
    found = {
        Asked("line", "window", r, nats=False): excess([share] * 5, half=0.02)
        for r, share in ((0, 0.5), (1, 0.11), (2, 0.04))
    }
    results = Results(found)
    assert results.need(LINE, 2.0, 0.10) == (2, 1, 2)
    assert results.need(LINE, 2.0, 0.05) == (2, 2, inf)
    assert results.need(LINE, 2.0, 0.01) == (inf, inf, inf)
    assert layers(results.need(LINE, 2.0, 0.05), 2) == "2 (2 to more than 2)"
    assert layers(results.need(LINE, 2.0, 0.6), 2) == "0"


def test_levels_are_worth_differences_of_blocks():
    """Densities are those of 1/2 int E d snr: their area over octaves of noise is the nats."""
    entropies = {"steps": [[1.0, 0.1], [2.0, 0.1]]}
    coarse, fine = [0, 0.1, 0.2, 0.1, 0], [0, 0.2, 0.6, 0.5, 0.1]
    results = Results(
        {
            Asked("line", "block", 1): excess(coarse, nats=[1.0, 0.9, 1.1]),
            Asked("line", "block", 2): excess(fine, nats=[3.5, 3.2, 3.8]),
            Asked("line", "entropies"): entropies,
        }
    )
    root, below = results.worths(LINE)
    assert (root.level, root.nats, root.entropies) == (0, 1.0, (1.0, 0.1)) and below.nats == 2.5
    assert root.half == pytest.approx(0.1) and below.half == pytest.approx(np.hypot(0.1, 0.3))
    snr, more = NOISE**-2.0, np.array(fine) - coarse
    # of a function that is even over an octave: 1/2 * 4 leaves * E * snr * (log 4 of log snr)
    assert below.density == pytest.approx(0.5 * 4 * more * snr * log(4))
    assert root.middle > below.middle and root.ends[0] < root.middle < root.ends[1]


def test_a_level_is_decided_where_half_of_its_entropy_is_gone():
    noise = [1.0, 2.0, 4.0]
    left = [[[0.8, 0.0], [0.2, 0.0]], [[1.0, 0.0], [0.4, 0.0]], [[1.0, 0.0], [0.8, 0.1]]]
    found = {"noise": noise, "prior": [1.0, 1.0], "left": left}
    never, some = Results({Asked("pair", "decided"): found}).halves(Subject("pair", "broadcast(1, 2, 2)"))
    assert isnan(never.noise) and half_gone(never) == "never: 80% is left"
    assert some.noise == pytest.approx(2 * 2**0.25) and some.ends[0] < some.noise < some.ends[1]


def test_noise_goes_from_where_all_is_decided_to_where_nothing_is():
    (found,) = (
        measure({**dict(cell), "n": 50, "noise": [DECIDED[0], DECIDED[-1]]})
        for name, cell in asked(SUBJECTS[2])
        if name.what == "decided"
    )
    assert found["left"][0][-1][0] < 1e-3 and found["left"][1][0][0] > 0.97 * log(4)


# ---------------------------------------------------------------------- what it writes


@pytest.mark.long
def test_the_command_writes_a_page_that_its_data_tell_and_goes_on_where_it_stopped(tmp_path, capsys):
    command = ["study", "ablation", "--quick", "-o", str(tmp_path)]
    assert main(command) == 0
    said = capsys.readouterr().out
    names = {p.name for p in tmp_path.iterdir()}
    figures = {f"{name}.svg" for name in ("images", "others", "levels", "decided", "reach")}
    assert names == {FILE, "study.md", "study.json"} | figures
    for name in figures:
        text = (tmp_path / name).read_text()
        assert text.startswith("<?xml") and "nan" not in text
    page = (tmp_path / "study.md").read_text()
    data = json.loads((tmp_path / "study.json").read_text())
    expected = dict(
        [*(p for s in QUICK for p in asked(s, few=True)), *(p for s in REACH_QUICK for p in reach(s, few=True))]
    )
    assert [Asked(**row["asked"]) for row in data] == list(expected)
    assert [row["cell"] for row in data] == list(expected.values())
    results = Results({Asked(**row["asked"]): row["found"] for row in data})

    # the direction of what the study is about, far outside of noise
    weak, strong = QUICK[:2]
    near, far = (results.curve(Asked(s.name, "window", 1)).worst[0] for s in (weak, strong))
    assert near.high < 0.02 < 0.08 < far.low
    assert (
        results.curve(Asked(strong.name, "block", 3)).nats.low
        > 5 * results.curve(Asked(weak.name, "block", 3)).nats.high
    )
    near, far = (results.need(s, 2.0, 0.01) for s in REACH_QUICK)
    assert near.high < far.low
    root = [results.halves(s)[0].noise for s in (weak, strong)]
    assert isnan(root[0]) and root[1] > results.halves(strong)[-1].noise
    worths = results.worths(strong)
    assert worths[0].middle > worths[-1].middle and worths[0].nats < worths[-1].nats
    for subject in QUICK:
        for level in range(1, subject.depth + 1):
            nats = results.curve(Asked(subject.name, "block", level)).nats
            mean, error = results.cost(subject, level)
            assert abs(nats.value - mean) < 2 * np.hypot(1.96 * error, (nats.high - nats.low) / 2)

    assert "**A plain CNN of one layer.**" in page and "**What this does not show.**" in page
    assert page.split("\n\n")[1] in said
    assert not re.search(r"\b(nan|inf)\b", page)

    lines = (tmp_path / FILE).read_text().splitlines()
    (tmp_path / FILE).write_text("\n".join(lines[:-1]) + "\n")
    assert main(command) == 0
    assert f"{len(lines) - 1} of {len(lines)} cells are done" in capsys.readouterr().out
    assert (tmp_path / "study.md").read_text() == page
