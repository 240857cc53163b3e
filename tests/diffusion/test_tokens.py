"""diffusers' schedulers of tokens with exact posteriors: which laws their samples have, by enumeration."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from oracles.tokens import blockwise, chain
from oracles.trees import CASES, build, dense
from scipy.stats import chisquare

import hgm
from hgm.diffusion.process import Masked
from hgm.diffusion.tokens import TOKENS, Run, driver_of

diffusers = pytest.importorskip("diffusers")

ROWS = 8_000
RHM, UNTIED = CASES["rhm"], CASES["binary_untied"]


def copies():
    """4 leaves of two states below two nodes below a root, each of which mostly is its parent's state."""
    keep = np.array([[0.9, 0.1], [0.2, 0.8]])
    edges = [("r", "a"), ("r", "b"), ("a", "x0"), ("a", "x1"), ("b", "x2"), ("b", "x3")]
    return build([dense(edge, keep) for edge in edges])


COPIES = copies()


def leaf_table(case):
    return case.joint.marginal(*(case.tree.names[v] for v in case.tree.leaves))


def run(case, scheduler, rows=ROWS, seed=0):
    driver = driver_of(scheduler)
    channel = hgm.Erasure() if isinstance(driver.process, Masked) else hgm.Flip()
    net = hgm.compile(case.tree, "posterior", channel=channel, query="leaves").double()
    shape = (rows, *case.tree.leaf_shape)
    return list(driver.steps(Run(net, scheduler, shape, net.leaf_states, torch.Generator().manual_seed(seed))))


def frequencies(x, law):
    counts = np.zeros(law.shape)
    np.add.at(counts, tuple(x.flatten(1).T.numpy()), 1)
    return counts


def fits(x, law):
    """The p-value of samples; 0 if one is impossible."""
    counts, possible = frequencies(x, law), law > 1e-14
    if counts[~possible].any():
        return 0.0
    return chisquare(counts[possible], len(x) * law[possible] / law[possible].sum()).pvalue


def variation(x, law):
    return 0.5 * np.abs(frequencies(x, law) / len(x) - law).sum()


def amused(states, steps, temperature, schedule="linear"):
    scheduler = diffusers.AmusedScheduler(mask_token_id=states, masking_schedule=schedule)
    scheduler.set_timesteps(steps, temperature=temperature)
    return scheduler


@pytest.mark.parametrize("case", [COPIES, UNTIED], ids=["copies", "binary_untied"])
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_discrete_ddim_has_the_law_of_the_uniform_chain(case, steps):
    P = leaf_table(case)
    states = P.shape[0]
    keeps = [(1 - t) / (1 - s) for s, t in pairwise(np.linspace(0, 1, steps + 1))]
    law = chain(P, np.full(states, 1 / states), [k * np.eye(states) + (1 - k) / states for k in keeps])
    assert fits(run(case, diffusers.DiscreteDDIMScheduler(steps))[-1], law) > 1e-3
    assert steps > 2 or case is UNTIED or fits(run(case, diffusers.DiscreteDDIMScheduler(steps))[-1], P) < 1e-6


def test_the_corrector_asks_the_denoiser_again_but_after_the_last_step():
    asked = []

    def denoiser(z, eps):
        asked.append(round(eps, 3))
        return torch.full((len(z), 2, 4), 0.5)

    run = Run(denoiser, diffusers.DiscreteDDIMScheduler(4, corrector_steps=2), (3, 4), 2)
    assert len(list(TOKENS["DiscreteDDIMScheduler"].steps(run))) == 4
    assert asked == [0.5, 0.375, 0.375, 0.375, 0.25, 0.25, 0.25, 0.125, 0.125, 0.125]


def test_discrete_ddim_tends_to_the_data():
    assert fits(run(COPIES, diffusers.DiscreteDDIMScheduler(64), rows=4_000)[-1], leaf_table(COPIES)) > 1e-3


@pytest.mark.parametrize("selection", ["random", "lowest_log_margin"])
def test_a_corrector_keeps_the_law_only_if_it_looks_at_no_symbol(selection):
    scheduler = diffusers.DiscreteDDIMScheduler(24, corrector_steps=2, corrector_selection=selection)
    right = fits(run(COPIES, scheduler)[-1], leaf_table(COPIES))
    assert right > 1e-3 if selection == "random" else right < 1e-6


@pytest.mark.parametrize("ends", [(9e-6, 0.99999), (1e-9, 0.5)])
@pytest.mark.parametrize("steps", [2, 4])
def test_vq_diffusion_has_the_law_of_its_chain(ends, steps):
    P = leaf_table(COPIES)
    alpha = np.r_[1, np.linspace(0.99999, ends[0], steps)]
    mask = np.r_[0, np.linspace(9e-6, ends[1], steps)]
    matrices = []
    for i in range(steps):
        a, c = alpha[i + 1] / alpha[i], 1 - (1 - mask[i + 1]) / (1 - mask[i])
        inner = a * np.eye(2) + (1 - a - c) / 2
        matrices.append(np.block([[inner, np.full((2, 1), c)], [np.zeros((1, 2)), np.ones((1, 1))]]))
    matrices[0] = matrices[0][:2]
    start = np.r_[np.full(2, (1 - ends[1]) / 2), ends[1]]
    scheduler = diffusers.VQDiffusionScheduler(
        3, num_train_timesteps=steps, alpha_cum_end=ends[0], gamma_cum_end=ends[1]
    )
    states = run(COPIES, scheduler)
    assert fits(states[-1], chain(P, start, matrices)) > 1e-3
    assert len(states) == steps and ((states[0] == -1).any() or steps == 2) and (states[-1] >= 0).all()


@pytest.mark.parametrize("case", [COPIES, UNTIED, RHM], ids=["copies", "binary_untied", "rhm"])
def test_entropy_bound_is_exact_with_a_bound_of_0_and_temperatures_of_1(case):
    exact = diffusers.EntropyBoundScheduler(0.0, t_max=1.0, t_min=1.0, num_inference_steps=4)
    assert fits(run(case, exact)[-1], leaf_table(case)) > 1e-3


def test_entropy_bound_draws_all_at_once_with_a_large_bound_and_sharpens_by_default():
    P = leaf_table(COPIES)
    loose = diffusers.EntropyBoundScheduler(10.0, t_max=1.0, t_min=1.0, num_inference_steps=2)
    assert fits(run(COPIES, loose)[-1], blockwise(P, [[0, 1, 2, 3]])) > 1e-3
    assert variation(run(COPIES, diffusers.EntropyBoundScheduler(num_inference_steps=4))[-1], P) > 0.1


def test_entropy_bound_leaves_noise_where_steps_are_too_few():
    few = diffusers.EntropyBoundScheduler(0.0, t_max=1.0, t_min=1.0, num_inference_steps=2)
    assert fits(run(RHM, few)[-1], leaf_table(RHM)) == 0


def test_one_step_draws_all_symbols_from_their_own_posteriors():
    law = blockwise(leaf_table(COPIES), [[0, 1, 2, 3]])
    for scheduler in (amused(2, 1, 1.0), diffusers.BlockRefinementScheduler(num_inference_steps=1)):
        assert fits(run(COPIES, scheduler, rows=2_000)[-1], law) > 1e-3


def test_amused_is_right_the_less_it_looks_at_confidence():
    P = leaf_table(COPIES)
    gaps = [variation(run(COPIES, amused(2, 12, (t, t)))[-1], P) for t in (0.0, 2.0, 100.0)]
    assert gaps[0] > 0.15 and 0.15 > gaps[1] > 0.03 > gaps[2]


def test_what_looks_at_confidence_draws_likely_data_too_often():
    P = leaf_table(COPIES)
    block = diffusers.BlockRefinementScheduler(num_inference_steps=4, threshold=1.0)
    for scheduler in (amused(2, 4, (2, 0)), block):
        x = run(COPIES, scheduler, rows=2_000)[-1]
        assert (frequencies(x, P) * np.log(P)).sum() / len(x) > (P * np.log(P)).sum() + 0.1


SCHEDULERS = {
    "AmusedScheduler": lambda states: amused(states, 3, (2, 0), "cosine"),
    "BlockRefinementScheduler": lambda states: diffusers.BlockRefinementScheduler(num_inference_steps=3),
    "DiscreteDDIMScheduler": lambda states: diffusers.DiscreteDDIMScheduler(3, corrector_steps=1),
    "EntropyBoundScheduler": lambda states: diffusers.EntropyBoundScheduler(0.0, 1.0, 1.0, 8),
    "VQDiffusionScheduler": lambda states: diffusers.VQDiffusionScheduler(states + 1, num_train_timesteps=3),
}


def test_each_scheduler_has_a_test():
    assert SCHEDULERS.keys() == TOKENS.keys()


@pytest.mark.parametrize("name", SCHEDULERS)
@pytest.mark.parametrize("case", ["rhm", "quad_2d", "hard_zeros"])
def test_zeros_and_grids_pass_through(name, case):
    tree = CASES[case].tree
    states = int(tree.cardinality[tree.leaves].max())
    if len(set(tree.cardinality[tree.leaves])) > 1:
        pytest.skip("leaves of several sizes have no uniform process")
    for state in (found := run(CASES[case], SCHEDULERS[name](states), rows=40)):
        assert state.shape == (40, *tree.leaf_shape) and state.min() >= -1 and state.max() < states
    assert (found[-1] >= 0).all()
    assert (run(CASES[case], SCHEDULERS[name](states), rows=40)[-1] == found[-1]).all()
    assert (run(CASES[case], SCHEDULERS[name](states), rows=40, seed=1)[-1] != found[-1]).any()


def test_what_does_not_fit_is_refused():
    vq = diffusers.VQDiffusionScheduler(3, num_train_timesteps=4)
    vq.set_timesteps(2)
    for scheduler, message in [
        (diffusers.AmusedScheduler(mask_token_id=2), "set_timesteps"),
        (amused(3, 2, 1.0), "mask_token_id=2; got 3"),
        (diffusers.VQDiffusionScheduler(5), "num_vec_classes=3"),
        (vq, "num_train_timesteps=2"),
        (diffusers.DDPMScheduler(), "AmusedScheduler, .*; got"),
        (None, "got None"),
    ]:
        with pytest.raises(hgm.BadSpec, match=message):
            run(COPIES, scheduler, rows=2)
    for name, make in SCHEDULERS.items():
        for wrong in (torch.full((5, 2, 4), torch.nan), torch.full((5, 3, 4), 1 / 3)):
            given = Run(lambda z, *noise, wrong=wrong: wrong, make(2), (5, 4), 2)
            with pytest.raises(hgm.BadEvidence, match="step 0: "):
                list(TOKENS[name].steps(given))


def test_a_subclass_is_driven_as_its_scheduler():
    class Mine(diffusers.DiscreteDDIMScheduler):
        pass

    assert driver_of(Mine(2)) is TOKENS["DiscreteDDIMScheduler"]
