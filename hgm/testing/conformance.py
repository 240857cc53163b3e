"""A battery of tests that a new kind of potential, layer or stage inherits by saying how to make trees that use it.

    from hgm.testing import Conformance

    class TestBanded(Conformance):                      # pytest finds the test_ methods; nothing here imports pytest
        def make_tree(self, seed):
            return hgm.Tree.from_edges(...)

        def make_evidence(self, tree, seed):            # may be left out: `random_evidence`
            ...

Without pytest, ``TestBanded().run()`` does the same. A kind of stage, or an op of its own, comes into the networks by a
registered schedule, whose name is the battery's `schedule`. The oracles are the reference inference (`hgm.infer`), the
factor marginals, and calculus: the gradient of the log partition function with respect to the log evidence must be the
marginals.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from hgm.bp.posterior import Posterior, infer
from hgm.errors import BadSpec, ImpossibleEvidence, brief
from hgm.measure.feed import feed
from hgm.measure.samples import random_evidence
from hgm.networks.compile import compile
from hgm.networks.heads import ConvNet, UNet
from hgm.testing.battery import Battery, assert_close
from hgm.tree.flat import flatten
from hgm.tree.tree import Tree

__all__ = ["Conformance", "expected_counts"]


def expected_counts(posterior: Posterior) -> list[Tensor]:
    """For each potential, the expected number of uses of each of its entries, summed over the batch.

    From the factor marginals of the reference; the gradient of the summed log partition function with respect to the
    log potentials must be this.
    """
    if not isinstance(posterior, Posterior):
        raise BadSpec(f"posterior must be what hgm.infer gives; got {brief(posterior)}")
    tree = posterior.tree
    counts = [torch.zeros(p.log_potential.shape, dtype=torch.float64) for p in tree.potentials]
    for factor in range(tree.factors):
        number = int(tree.potential_id[factor])
        entries = torch.from_numpy(tree.potentials[number].entries()).flatten()
        places = posterior.factor_marginals(factor).reshape(-1, len(entries)).sum(0)
        counts[number].view(-1).index_add_(0, entries[entries >= 0], places[entries >= 0])
    return counts


class Conformance(Battery):
    """What every potential kind and every layer must fulfil. Subclass it, and supply `make_tree`.

    Attributes:
        seeds: every test runs on the trees of these seeds.
        tolerance: of marginals in float64, and relative of log partition functions.
        tolerance32: the same in float32.
        schedule: which schedule plans the networks.
    """

    seeds: Sequence[int] = (0, 1, 2)
    tolerance: float = 1e-12
    tolerance32: float = 1e-6
    schedule: str = "levels"

    # ------------------------------------------------------------------ to supply

    def make_tree(self, seed: int) -> Tree:
        """A tree that uses the kind. Small: tens of variables."""
        raise NotImplementedError("supply make_tree(seed): a small tree that uses what is tested")

    def make_evidence(self, tree: Tree, seed: int) -> Tensor:
        """``(B, S, V)`` float64 log evidence, possible in every row, at least 3 rows."""
        return random_evidence(tree, seed)

    def make_network(self, tree: Tree, task: Any = "posterior", **options: Any) -> ConvNet | UNet:
        """The network of a tree; `options` are those of `hgm.compile`."""
        return compile(tree, task, schedule=self.schedule, **options)

    # ------------------------------------------------------------------ the battery

    def test_marginals_are_those_of_the_reference(self) -> None:
        """Of all variables, float64."""
        for tree, e in self._cases():
            got = self._marginals(tree, e)
            assert_close(got, infer(tree, e).marginals, self.tolerance, "marginals")

    def test_marginals_in_float32_are_those_of_the_reference(self) -> None:
        """Against float64 on the same rounded evidence."""
        for tree, e in self._cases():
            e = e.float()
            got = self._marginals(tree, e)
            if got.dtype != torch.float32:
                raise AssertionError(f"float32 evidence gave {got.dtype}")
            assert_close(got, infer(tree, e.double()).marginals, self.tolerance32, "marginals in float32")

    def test_log_partition_is_that_of_the_reference(self) -> None:
        """Relative, in both precisions."""
        for tree, e in self._cases():
            network = self.make_network(tree, observed=tree.names)
            for dtype, tolerance in ((torch.float64, self.tolerance), (torch.float32, self.tolerance32)):
                args, kwargs = feed(network, tree, e.to(dtype))
                want = infer(tree, e.to(dtype).double()).log_partition
                assert_close(network.log_partition(*args, **kwargs), want, tolerance, f"log partition in {dtype}")

    def test_every_variable_can_be_classified(self) -> None:
        """By re-rooting at it: factors send messages along each of their axes."""
        for tree, e in self._cases():
            reference = infer(tree, e)
            for name in tree.names:
                network, args, kwargs = self._fed(tree, e, "classify", query=name)
                assert_close(network(*args, **kwargs), reference[name], self.tolerance, f"posterior of {name!r}")

    def test_the_gradient_of_the_log_partition_is_the_marginals(self) -> None:
        """With respect to log evidence: the decoder is the derivative of the encoder, also at -inf."""
        for tree, e in self._cases():
            x = e.clone().requires_grad_()
            network, args, kwargs = self._fed(tree, x)
            (gradient,) = torch.autograd.grad(network.log_partition(*args, **kwargs).sum(), x)
            assert_close(gradient, self._marginals(tree, e), 10 * self.tolerance, "gradient of log Z by log evidence")

    def test_the_gradient_by_log_potentials_is_the_expected_counts(self) -> None:
        """Of tied factors together; of the entries that are not zero, which are the weights."""
        for tree, e in self._cases():
            network, args, kwargs = self._fed(tree, e, trainable=True)
            network.log_partition(*args, **kwargs).sum().backward()
            (weights,) = network.parameters()
            gradient = weights.grad
            if gradient is None:
                raise AssertionError("the log partition does not depend on the weights")
            want = torch.cat([e.new_zeros(0), *(count.ravel() for count in expected_counts(infer(tree, e)))])
            positive = torch.from_numpy(flatten(tree.potentials)).isfinite()
            assert_close(gradient, want[positive], 100 * self.tolerance, "gradient of log Z by log potentials")

    def test_gradients_of_marginals_are_finite(self) -> None:
        """With respect to log evidence with -inf in it, and to weights beside zeros."""
        for tree, e in self._cases():
            x = e.clone().requires_grad_()
            network, args, kwargs = self._fed(tree, x, query="all", trainable=True)
            p = network(*args, **kwargs)
            weights = torch.linspace(-1, 1, p.numel(), dtype=p.dtype).view_as(p)
            (p * weights).sum().backward()
            (flat,) = network.parameters()
            for name, gradient in (("evidence", x.grad), ("weights", flat.grad)):
                if gradient is None or not bool(gradient.isfinite().all()):
                    raise AssertionError(f"the gradient of the marginals by the {name} is not finite")

    def test_rows_of_a_batch_do_not_touch_each_other(self) -> None:
        """Each row alone gives what it gives in the batch, and no row gives no row."""
        for tree, e in self._cases():
            network, args, kwargs = self._fed(tree, e, query="all")
            together = network(*args, **kwargs)
            for row in range(len(e)):
                args, kwargs = feed(network, tree, e[row : row + 1])
                assert_close(network(*args, **kwargs)[0], together[row], self.tolerance, f"row {row}")
            args, kwargs = feed(network, tree, e[:0])
            if network(*args, **kwargs).shape != together[:0].shape:
                raise AssertionError("an empty batch must give an empty result")

    def test_inputs_stay_as_they_are_and_results_are_repeatable(self) -> None:
        """A forward writes to nothing that it was given, and remembers nothing."""
        for tree, e in self._cases():
            network, args, kwargs = self._fed(tree, e.clone(), query="all")
            before = [x.clone() for x in (*args, *kwargs.values())]
            with torch.no_grad():
                first, second = network(*args, **kwargs), network(*args, **kwargs)
            if not all(torch.equal(a, b) for a, b in zip(before, (*args, *kwargs.values()), strict=True)):
                raise AssertionError("the forward changed its input")
            if not torch.equal(first, second):
                raise AssertionError("the second forward gave another result than the first")

    def test_impossible_rows_are_refused_by_number(self) -> None:
        """Two rows that exclude every state of one variable."""
        for tree, e in self._cases():
            e = e.clone()
            rows = (0, len(e) - 1)
            leaf = int(tree.leaves[-1])
            for row in rows:
                e[row, :, leaf] = -torch.inf
            try:
                self._marginals(tree, e)
            except ImpossibleEvidence as error:
                if error.rows != rows:
                    raise AssertionError(f"rows {error.rows} were named impossible instead of {rows}") from error
            else:
                raise AssertionError("impossible evidence was not refused")

    def test_a_state_dict_carries_the_weights(self) -> None:
        """Into a network of another tree of the same shape, fixed or trainable."""
        for tree, e in self._cases():
            other = tree.with_potentials([p.with_log(p.log_potential * 1.1 - 0.1) for p in tree.potentials])
            want = infer(tree, e).marginals
            for trainable in (False, True):
                options = {"query": "all", "observed": tree.names, "trainable": trainable}
                network, source = self.make_network(other, **options), self.make_network(tree, **options)
                network.load_state_dict(source.state_dict())
                args, kwargs = feed(network, tree, e)
                assert_close(network(*args, **kwargs), want, self.tolerance, f"marginals, loaded, {trainable=}")
                twin = copy.deepcopy(source)
                assert_close(twin(*args, **kwargs), want, self.tolerance, f"marginals, copied, {trainable=}")

    def test_the_tree_comes_back(self) -> None:
        """`tree()` of an untrained network is the tree."""
        for tree, _ in self._cases():
            for trainable in (False, True):
                if self.make_network(tree, trainable=trainable).tree() != tree:
                    raise AssertionError("network.tree() is not the tree that was compiled")

    def test_it_exports(self) -> None:
        """With `torch.export`, for any batch size."""
        tree, e = next(self._cases())
        network, args, kwargs = self._fed(tree, e, query="all")
        batch = torch.export.Dim("batch", min=2)
        shapes = {"observation": {0: batch}} | {name: {0: batch} for name in kwargs}
        program = torch.export.export(network, args, kwargs, dynamic_shapes=shapes)
        for rows in (e, e.repeat(3, 1, 1)[1:]):
            args, kwargs = feed(network, tree, rows)
            assert_close(
                program.module()(*args, **kwargs), infer(tree, rows).marginals, self.tolerance, "exported marginals"
            )

    # ------------------------------------------------------------------ helpers

    def _cases(self) -> Iterator[tuple[Tree, Tensor]]:
        for seed in self.seeds:
            tree = self.make_tree(seed)
            yield tree, self.make_evidence(tree, seed)

    def _fed(
        self, tree: Tree, e: Tensor, task: Any = "posterior", **options: Any
    ) -> tuple[ConvNet | UNet, tuple[Tensor], dict[str, Any]]:
        """A new network of a tree that sees all variables, and its arguments for some evidence."""
        network = self.make_network(tree, task, observed=tree.names, **options)
        return network, *feed(network, tree, e)

    def _marginals(self, tree: Tree, e: Tensor) -> Tensor:
        """``(B, S, V)`` of all variables, by a new network."""
        network, args, kwargs = self._fed(tree, e, query="all")
        p = network(*args, **kwargs)
        return p.reshape(*p.shape[:2], len(tree))
