"""What a `Tree` promises, checked on its public attributes one factor at a time, and the joint read off its factors."""

import numpy as np

from oracles.enumeration import Joint


def joint(tree) -> Joint:
    """The joint distribution, read off the tree's factors."""
    factors = [
        ([tree.names[v] for v in tree.scope_of(f)], np.exp(tree.potential_of(f).dense_log()))
        for f in range(tree.factors)
    ]
    return Joint(list(tree.names), tree.cardinality.tolist(), factors)


def same_joint(a: Joint, b: Joint) -> bool:
    """Whether two joints over the same names, in any order, are equal up to rounding."""
    return sorted(a.names) == sorted(b.names) and np.allclose(
        np.exp(a.log), np.exp(b.log.transpose([b.names.index(name) for name in a.names])), rtol=1e-12, atol=0.0
    )


def check_structure(tree) -> None:
    """Every promise of the class's documentation."""
    assert tree.level_ptr[0] == 0 and tree.level_ptr[-1] == len(tree) and (np.diff(tree.level_ptr) > 0).all()
    assert len(tree.level_ptr) == tree.depth + 2 and len(tree.scope_ptr) == tree.factors + 1
    assert (np.diff(tree.parent) >= 0).all(), "factors come in the order of their parents"
    above = {int(v): -1 for v in range(len(tree))}
    has_children = set()
    for f in range(tree.factors):
        scope, children = tree.scope_of(f).tolist(), tree.children_of(f).tolist()
        parent = scope[tree.up[f]]
        assert parent == tree.parent[f] and sorted([parent, *children]) == sorted(scope) and parent not in children
        assert tree.potential_of(f).shape == tuple(tree.cardinality[scope])
        assert tree.factor_ptr[parent] <= f < tree.factor_ptr[parent + 1]
        for child in children:
            assert above[child] == -1, "one factor above"
            assert tree.level[child] == tree.level[parent] + 1
            above[child] = f
            has_children.add(parent)
    assert tree.parent_factor.tolist() == [above[v] for v in range(len(tree))]
    assert tree.roots.tolist() == [v for v in range(len(tree)) if above[v] == -1] == tree.at_level(0).tolist()
    assert tree.leaves.tolist() == [v for v in range(len(tree)) if v not in has_children]
    assert [tree.index(name) for name in tree.names] == list(range(len(tree)))
