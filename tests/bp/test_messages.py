"""Each message is the enumerated sum over its side of the tree; its formula, evaluated as it reads, gives it too."""

import re

import numpy as np
import pytest
import torch
from oracles.enumeration import Joint
from oracles.trees import CASES, draw_evidence

import hgm


def side(case, message):
    """The variables and factors (by scope, and number among those of one scope) that a message sums over."""
    tree, v, f = case.tree, case.tree.index(message.variable), message.factor

    def beyond(start, banned):  # everything reached from a variable without a factor
        variables, factors, todo = set(), set(), [start]
        while todo:
            at = todo.pop()
            variables.add(at)
            for g in [*tree.factors_of(at), int(tree.parent_factor[at])]:
                if g >= 0 and g != banned and g not in factors:
                    factors.add(g)
                    todo += [w for w in tree.scope_of(g).tolist() if w != at]
        return variables, factors

    if message.letter in "hu":
        return beyond(v, f)
    variables, factors = {v}, {f}
    for w in tree.scope_of(f).tolist():
        if w != v:
            more = beyond(w, f)
            variables |= more[0]
            factors |= more[1]
    return variables, factors


@pytest.mark.parametrize("kind", ["none", "soft", "zeros", "batch"])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_message_is_the_sum_over_its_side(case, kind):
    if len(case.names) > 11:
        pytest.skip("enumerated once for each message")
    evidence = draw_evidence(case, kind)
    tree = case.tree
    messages = hgm.infer(tree, evidence.given).messages()
    assert len(messages) == sum(
        1 + 2 * len(tree.children_of(f)) + bool(len(tree.children_of(f))) for f in range(tree.factors)
    )
    for message in messages:
        variables, factors = side(case, message)
        names = [tree.names[w] for w in sorted(variables)]
        tables = [(tree.scope_names(g), np.exp(tree.potential_of(g).dense_log())) for g in sorted(factors)]
        joint = Joint(names, [case.card(n) for n in names], tables)
        for b, row in enumerate(evidence.rows):
            own = message.letter in "hu"  # q and r come from the factor, before the variable's own evidence
            seen = {n: e for n, e in row.items() if n in names and (own or n != message.variable)}
            want = joint.given(seen).marginal(message.variable)
            got = message.values[b] if evidence.batched else message.values
            np.testing.assert_allclose(got.numpy(), want, atol=1e-12)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_formula_evaluated_as_it_reads_gives_the_message(case):
    evidence = draw_evidence(case, "soft")
    tree, known = case.tree, {}
    own = {f"e({n})": (n, e) for n, e in evidence.rows[0].items()}
    letters = {name: i for i, name in enumerate(case.names)}
    for message in hgm.infer(tree, evidence.given).messages():
        label, formula = message.formula.split(" = ")
        terms = re.findall(r"[a-z]+\d*\([^)]*\)|\b1\b", re.sub(r"sum over .* of ", "", formula))
        operands = []
        for term in terms:
            if term == "1":
                operands += [np.ones(case.card(message.variable)), [letters[message.variable]]]
            elif term.startswith("psi"):
                scope = tree.scope_names(message.factor)
                assert term == f"psi({', '.join(scope)})"
                operands += [np.exp(tree.potential_of(message.factor).dense_log()), [letters[n] for n in scope]]
            elif term in own:
                operands += [own[term][1], [letters[own[term][0]]]]
            else:
                name, value = known[term]
                operands += [value, [letters[name]]]
        value = np.einsum(*operands, [letters[message.variable]])
        np.testing.assert_allclose(message.values.numpy(), value / value.sum(), atol=1e-12)
        assert label not in known
        known[label] = message.variable, value / value.sum()


def test_messages_are_a_sequence_that_shows_itself():
    tree = hgm.chain(3, 2, seed=0)
    messages = hgm.infer(tree, {tree.names[0]: [0, 1]}).messages()
    assert [m.letter for m in messages[:2]] == ["h", "q"] and messages[0].up and not messages[-1].up
    assert len(messages[1:]) == len(messages) - 1
    assert str(messages).count(" = ") == len(messages) and "row 0 of 2" in str(messages)
    assert "<table>" in messages._repr_html_()
    assert str(hgm.infer(tree, torch.zeros(0, 2, 3)).messages()) == "no rows"
