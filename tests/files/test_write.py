"""The text that a tree is written as."""

import json
from functools import partial

import numpy as np
import pytest
import yaml
from files.models import ENDINGS, LABELS, TREES, again
from hypothesis import given, settings
from hypothesis import strategies as st

import hgm
from hgm import Level


def test_layered_trees_take_the_layered_form_and_others_the_explicit_one(path):
    for name, tree in TREES.items():
        hgm.save(tree, path)
        assert ("levels" in yaml.safe_load(path.read_text())) == (tree.grid is not None), name


def test_a_layered_form_that_would_lose_something_is_not_used(path):
    tree = hgm.random_ghm(2, 3, 2)
    other = hgm.Tree.build(tree.names, tree.cardinality, tree.scope_ptr, tree.scope, 4 - tree.potential_id,
                           tree.potentials[::-1], grid=tree.grid)  # fmt: skip
    assert other != tree, "its potentials are numbered from the other end"
    assert again(other, path) == other and "variables" in yaml.safe_load(path.read_text())


def test_a_large_tied_tree_makes_a_small_file(path):
    tree = hgm.ghm([Level((2, 2), 2, tie="level") for _ in range(8)], 2)
    assert again(tree, path) == tree and len(tree) > 80_000
    assert path.stat().st_size < 3000


@pytest.mark.parametrize("name", ["random_ghm", "hmm", "random_tree", "rhm", "hard_zeros", "no levels"])
def test_other_readers_see_the_same_data_in_both_formats(name, tmp_path):
    """PyYAML's own loader, by the rules of YAML 1.1, and the json module."""
    for ending in ENDINGS:
        hgm.save(TREES[name], tmp_path / f"model.{ending}")
    from_yaml = yaml.safe_load((tmp_path / "model.yaml").read_text(encoding="utf-8"))
    from_json = json.loads((tmp_path / "model.json").read_text(encoding="utf-8").replace('"-inf"', "-Infinity"))
    assert from_yaml == from_json


@settings(max_examples=80)
@given(st.lists(LABELS, min_size=2, max_size=4, unique=True), st.lists(LABELS, min_size=1, max_size=4, unique=True))
def test_other_readers_see_names_and_labels_with_their_types(tmp_path_factory, names, labels):
    def read(data):
        """Variables and scopes as they were declared."""
        given = data["variables"]
        pairs = given.items() if isinstance(given, dict) else given
        return [(tuples(key), tuples(states)) for key, states in pairs], [tuples(f["scope"]) for f in data["factors"]]

    def tuples(part):
        return tuple(map(tuples, part)) if isinstance(part, list) else part

    tree = hgm.Tree.from_factors(
        [(names[:2], np.ones((len(labels), 2)))], {names[0]: labels} | dict.fromkeys(names[1:], 2)
    )
    want = [(name, tree.labels(v) or 2) for v, name in enumerate(tree.names)], [tree.scope_names(0)]
    for ending, load in (
        ("yaml", yaml.safe_load),
        ("yaml", partial(yaml.load, Loader=yaml.CSafeLoader)),
        ("json", json.loads),
    ):
        path = tmp_path_factory.getbasetemp() / f"other.{ending}"
        hgm.save(tree, path)
        assert repr(read(load(path.read_text(encoding="utf-8")))) == repr(want)


def test_what_cannot_be_written_is_refused(tmp_path):
    tree = hgm.chain(3)
    (tmp_path / "dir.yaml").mkdir()
    for name, message in [
        ("a.txt", "must end in"),
        ("none/a.yaml", "cannot be written: No such file"),
        ("dir.yaml", "cannot be written: Is a directory"),
    ]:
        with pytest.raises(hgm.BadSpec, match=message):
            hgm.save(tree, tmp_path / name)
    for ending in ENDINGS:
        with pytest.raises(hgm.BadSpec, match="a name or label is not valid text"):
            hgm.save(hgm.Tree.from_factors([], {"a\ud800": 2}), tmp_path / f"a.{ending}")

    class Other(hgm.Table):
        pass

    with pytest.raises(hgm.BadSpec, match="a potential of the kind Other cannot be written"):
        hgm.save(hgm.Tree.from_factors([("a", Other([1, 2]))]), tmp_path / "a.yaml")
    assert [p.name for p in tmp_path.iterdir()] == ["dir.yaml"]


# ---------------------------------------------------------------------- names of potentials


def with_names(*names):
    """A tree with a shared potential, two that are used once and a prior, called so."""
    kinds = [hgm.Edge, hgm.Table, lambda values, name: hgm.Rules((2, 2), [[0, 1], [1, 0]], values[0], name=name)]
    shared, table, rules = (kind([[0.9, 0.1], [0.4, 0.6]], name=name) for kind, name in zip(kinds, names, strict=False))
    scopes = [(("a", "b"), shared), (("b", "c"), shared), (("c", "d"), table), (("d", "e"), rules)]
    return hgm.Tree.from_factors([*scopes, (("a",), hgm.Table([0.5, 0.5], name=names[3]))])


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize(
    "names",
    [("s", "t", "r", "p"), (None,) * 4, ("p0", None, "p1", None), (None, "p0", None, "p7"), ("no", "1", "a b", "ö")],
)
def test_names_of_potentials_come_back(tmp_path, ending, names):
    tree = with_names(*names)
    hgm.save(tree, tmp_path / f"a.{ending}")
    back = hgm.load(tmp_path / f"a.{ending}")
    assert back == tree and [p.name for p in back.potentials] == [p.name for p in tree.potentials]
    hgm.save(back, tmp_path / f"b.{ending}")
    assert (tmp_path / f"a.{ending}").read_text() == (tmp_path / f"b.{ending}").read_text()


@pytest.mark.parametrize("name", [None, "down", "p0"])
def test_names_of_potentials_of_layered_models_come_back(tmp_path, name):
    shared, prior = hgm.Edge([[0.9, 0.1], [0.4, 0.6]], name=name), hgm.Table([0.5, 0.5], name=name and f"{name}0")
    tree = hgm.ghm([Level(2, 2, shared), Level(2, 2, [shared, [[0.5, 0.5], [0.1, 0.9]]])], 2, prior=prior)
    hgm.save(tree, tmp_path / "a.yaml")
    assert "levels" in yaml.safe_load((tmp_path / "a.yaml").read_text())
    back = hgm.load(tmp_path / "a.yaml")
    assert back == tree and [p.name for p in back.potentials] == [p.name for p in tree.potentials]


def test_the_key_of_a_potential_is_its_name(tmp_path):
    text = """
        variables: {a: 2, b: 2, c: 2}
        potentials:
          step: {table: [[0.9, 0.1], [0.4, 0.6]]}
          p1: {table: [0.5, 0.5]}
          p2: {table: [0.5, 0.5], name: last}
        factors:
          - {scope: [a, b], potential: step}
          - {scope: [a], potential: p1}
          - {scope: [b], potential: p2}
          - {scope: [b, c], table: [[1, 2], [3, 4]], name: inline}
    """
    (tmp_path / "a.yaml").write_text(text)
    assert [p.name for p in hgm.load(tmp_path / "a.yaml").potentials] == ["step", None, "last", "inline"]
    (tmp_path / "a.yaml").write_text(text.replace("potential: step", "potential: step, name: other"))
    with pytest.raises(hgm.BadSpec, match=r"factors\[0\].name: 'name' is given where the table is"):
        hgm.load(tmp_path / "a.yaml")
    (tmp_path / "a.yaml").write_text(text.replace("name: inline", "name: step"))
    with pytest.raises(hgm.HgmError, match="two potentials of one tree are called 'step'"):
        hgm.load(tmp_path / "a.yaml")
