"""Model files: what is saved comes back equal, and the manual's examples load."""

import re
from datetime import datetime
from math import inf, nan
from pathlib import Path

import numpy as np
import pytest
from files.models import ENDINGS, LABELS, TREES, again
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.trees import random_cases
from places import needs_checkout, page

import hgm
from hgm import Level

MANUAL = page("docs/files.md")
EXAMPLES = re.findall(r"^```(yaml|json)\n(.*?)^```", MANUAL, re.M | re.S)
# ---------------------------------------------------------------------- round trips


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("tree", TREES.values(), ids=TREES)
def test_a_saved_tree_comes_back_equal(tree, ending, tmp_path):
    back = again(tree, tmp_path / f"model.{ending}")
    assert back == tree and back.grid == tree.grid
    assert [p.has_values for p in back.potentials] == [p.has_values for p in tree.potentials]


@settings(max_examples=40)
@given(random_cases(), st.sampled_from(ENDINGS))
def test_random_trees_come_back_equal(tmp_path_factory, case, ending):
    assert again(case.tree, tmp_path_factory.getbasetemp() / f"random.{ending}") == case.tree


@settings(max_examples=60)
@given(
    st.lists(st.floats(0.0, allow_nan=False, allow_infinity=False), min_size=2, max_size=5).filter(any),
    st.lists(st.floats(max_value=1e308, allow_nan=False) | st.just(-np.inf), min_size=2, max_size=5).filter(
        lambda logs: max(logs) > -np.inf
    ),
    st.sampled_from(ENDINGS),
)
def test_numbers_come_back_to_the_last_bit(tmp_path_factory, values, logs, ending):
    tree = hgm.Tree.from_factors([("a", values), ("b", hgm.Table.from_log(logs))])
    a, b = again(tree, tmp_path_factory.getbasetemp() / f"numbers.{ending}").potentials
    assert a.values.tobytes() == np.array(values).tobytes()
    assert b.log_potential.tobytes() == np.array(logs).tobytes()


def names_and_labels(tree):
    return [(repr(name), repr(tree.labels(v))) for v, name in enumerate(tree.names)]


@settings(max_examples=150)
@given(
    st.lists(LABELS, min_size=3, max_size=5, unique=True),
    st.lists(LABELS, min_size=1, max_size=5, unique=True),
    st.sampled_from(ENDINGS),
)
def test_any_names_and_labels_come_back_with_their_types(tmp_path_factory, names, labels, ending):
    tree = hgm.Tree.from_edges(
        [(names[0], names[1], np.ones((len(labels), 2)))], variables={names[0]: labels, names[2]: 3}
    ).reroot(names[1])
    back = again(tree, tmp_path_factory.getbasetemp() / f"names.{ending}")
    assert back == tree and names_and_labels(back) == names_and_labels(tree)


@settings(max_examples=40)
@given(st.lists(LABELS, min_size=2, max_size=4, unique=True), st.sampled_from(ENDINGS))
def test_labels_of_layered_models_come_back_with_their_types(tmp_path_factory, labels, ending):
    tree = hgm.ghm([Level(2, labels), Level(2, labels[::-1])], labels)
    back = again(tree, tmp_path_factory.getbasetemp() / f"levels.{ending}")
    assert back == tree and back.grid == tree.grid and names_and_labels(back) == names_and_labels(tree)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize(
    "variables",
    [
        '[["1", 2], [1, [true, "true"]], [2.5, [1, "1"]], [["A", 0], ["no", [1, "x"]]]]',
        '[["1", 2],\n [1, [true,\n "true"]], [2.5, [1, "1"]], [["A", 0], ["no", [1, "x"]]]]',
    ],
)
def test_both_formats_read_a_list_of_pairs(tmp_path, ending, variables):
    path = tmp_path / f"m.{ending}"
    path.write_text(f'{{"variables": {variables}, "roots": [["A", 0]], "factors": ['
                    '{"scope": [1, ["A", 0]], "table": [[1, 2], [3, 4]]}]}')  # fmt: skip
    tree = hgm.load(path)
    assert list(map(repr, tree.names)) == ["'1'", "2.5", "('A', 0)", "1"]
    assert repr([tree.labels(v) for v in range(4)]) == "[None, (1, '1'), ('no', (1, 'x')), (True, 'true')]"
    assert tree.scope_names(0) == (1, ("A", 0)) and tree.potentials[0].values.tolist() == [[1, 2], [3, 4]]


def test_yaml_has_typed_keys_where_it_can(tmp_path):
    tree = hgm.Tree.from_edges([(1, "1", [[1, 2], [3, 4]])], variables={2.5: [1, "1", 2.5, False]})
    hgm.save(tree, tmp_path / "m.yaml")
    assert 'variables: {2.5: [1, "1", 2.5, false], 1: 2, "1": 2}' in (tmp_path / "m.yaml").read_text()
    hgm.save(tree, tmp_path / "m.json")
    assert '"variables": [[2.5, [1, "1", 2.5, false]], [1, 2], ["1", 2]]' in (tmp_path / "m.json").read_text()


class Own(str):
    pass


@pytest.mark.parametrize("ending", ["yaml", "json", "safetensors"])
@pytest.mark.parametrize("label", [inf, ("a", -inf), (nan,), 10**400, datetime(2024, 1, 1), frozenset, Own("own"), 1j])
def test_what_no_file_holds_is_refused_by_name(tmp_path, ending, label):
    for tree in (
        hgm.Tree.from_edges([("a", label, [[1, 2], [3, 4]])]),
        hgm.Tree.from_edges([("a", "b", [[1, 2], [3, 4]])], variables={"b": ["x", label]}),
    ):
        with pytest.raises(
            hgm.BadSpec, match=r"^(the name of a variable|a state label) cannot be written to a file: "
        ) as caught:
            if ending == "safetensors":
                hgm.save_network(hgm.compile(tree, "posterior"), tmp_path / "net.safetensors")
            else:
                hgm.save(tree, tmp_path / f"m.{ending}")
        assert "\n" not in str(caught.value) and not list(tmp_path.iterdir())


def test_numbers_of_numpy_inside_a_tuple_are_written(path):
    tree = hgm.Tree.from_factors([], {("a", np.int64(1)): [(np.float64(0.5), np.True_, np.str_("x"))]})
    back = again(tree, path)
    assert back == tree and repr(back.names[0]) == "('a', 1)" and repr(back.labels(0)) == "((0.5, True, 'x'),)"


def test_a_very_long_name_comes_back(path):
    tree = hgm.Tree.from_factors([], {"x" * 5000: 2, "y": ["z" * 5000]})
    assert again(tree, path) == tree


def test_ties_and_the_order_of_potentials_come_back(path):
    one, two, spare = hgm.Edge([[1, 2], [3, 4]]), hgm.Edge([[1, 2], [3, 4]]), hgm.Table([1, 1])
    tree = hgm.Tree.from_edges([("b", "c", two), ("a", "b", one), ("a", "d", one)])
    back = again(tree, path)
    assert back.potential_id.tolist() == tree.potential_id.tolist() == [1, 1, 0]
    built = hgm.Tree.build(tree.names, tree.cardinality, tree.scope_ptr, tree.scope, tree.potential_id,
                           (*tree.potentials, spare))  # fmt: skip
    assert again(built, path) == built and len(hgm.load(path).potentials) == 3, "also one that nothing uses"


def test_a_comparison_of_saved_trees_can_fail(path):
    tree = hgm.random_ghm(1, 2, 2)
    hgm.save(tree, path)
    text = path.read_text()
    number = re.search(r"\d\.\d{8,}", text)[0]
    path.write_text(text.replace(number, number[:-1] + str(9 - int(number[-1])), 1))
    assert hgm.load(path) != tree


# ---------------------------------------------------------------------- the manual


@pytest.mark.parametrize(("ending", "text"), EXAMPLES, ids=range(len(EXAMPLES)))
def test_examples_of_the_manual_load_and_come_back(ending, text, tmp_path):
    path = tmp_path / f"example.{ending}"
    path.write_text(text)
    tree = hgm.load(path)
    assert again(tree, tmp_path / "again.yaml") == tree


@needs_checkout
def test_the_manual_shows_each_form_and_what_it_says_holds(tmp_path):
    trees = []
    for i, (ending, text) in enumerate(EXAMPLES):
        (tmp_path / f"{i}.{ending}").write_text(text)
        trees.append(hgm.load(tmp_path / f"{i}.{ending}"))
    digits, grammar, weather, short, typed, paired = trees
    assert digits.grid == ((), (2, 2), (4, 4), (8, 8)) and digits.names[0] == "digit"
    assert len(digits.potentials) == 1 + 1 + 1 + 4 and digits.labels(len(digits) - 1) == ("dark", "light")
    assert digits.index("part_3_3") in digits.at_level(2)
    assert digits == hgm.ghm(
        [Level((2, 2), 3, digits.potentials[1]), Level((2, 2), 3, tie="level", name="part_"),
         Level((2, 2), ["dark", "light"])],
        10, prior=digits.potentials[0], seed=7, root_name="digit",
    )  # fmt: skip
    assert isinstance(grammar.potentials[1], hgm.Rules) and len(grammar.potentials) == 4
    assert len(weather.potentials) == 3 and weather.labels(weather.index("mood2")) == ("good", "bad", "unknown")
    assert short.potentials[0].values.tolist() == [1.0, 0.0]
    assert repr(list(typed.names)) == "[1, '1']" and repr(typed.labels(1)) == "(1, 2.5, '1', ('A', 0))"
    assert repr(list(paired.names)) == "[1, ('A', 0)]" and paired.labels(1) == ("no", "yes")


@needs_checkout
def test_the_manual_quotes_real_messages(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    weather = EXAMPLES[2][1]
    wrong = {
        "table: [0.6, 0.4]": "table: [0.6, -0.4]",
        "{scope: [day0, mood0]": "{scop: [day0, mood0]",
        "[0.2, 0.7, 0.1]": "[0.2, 0.7]",
    }
    for good, bad in wrong.items():
        assert weather.count(good) == 1
        Path("weather.yaml").write_text(weather.replace(good, bad))
        with pytest.raises(hgm.BadSpec) as caught:
            hgm.load("weather.yaml")
        assert str(caught.value) in MANUAL


# ---------------------------------------------------------------------- names of files


@pytest.mark.parametrize("name", ["a.YAML", "a.yml", "a.Json"])
def test_endings_and_strings_as_paths(tmp_path, name):
    tree = hgm.chain(3)
    hgm.save(tree, str(tmp_path / name))
    assert hgm.load(str(tmp_path / name)) == tree


@pytest.mark.parametrize(("ending", "kind"), [("bif", "BIF"), ("XML", "XMLBIF"), ("xmlbif", "XMLBIF"), ("uai", "UAI")])
def test_a_file_of_another_program_is_refused_with_the_way_to_read_it(tmp_path, ending, kind):
    pgmpy = pytest.importorskip("pgmpy.readwrite")
    tree = hgm.Tree.from_edges([("a", "b", [[0.25, 0.75], [0.5, 0.5]])], {"a": [0.125, 0.875]})
    path = tmp_path / f"it's.{ending}"
    writer = getattr(pgmpy, f"{kind}Writer")(hgm.to_pgmpy(tree, "bayesian"))
    writer.write(str(path))
    with pytest.raises(hgm.BadSpec) as caught:
        hgm.load(path)
    assert str(caught.value).startswith(f"{path} is a") and f" {kind} file" in str(caught.value)
    code = str(caught.value).partition("pgmpy reads it: ")[2]
    read = eval(code, {"hgm": hgm, "pgmpy": pytest.importorskip("pgmpy")})
    assert sorted(len(p) for p in hgm.infer(read).marginals.T) == [2, 2]
    # p(b = 0) by hand
    want = 0.125 * 0.25 + 0.875 * 0.5
    assert any(abs(float(hgm.infer(read)[name][0]) - want) < 1e-9 for name in read.names)


@pytest.mark.parametrize("ending", ["nwk", "newick", "tree", "tre", "nex"])
def test_a_tree_of_species_is_refused_with_the_way_to_read_it(tmp_path, ending):
    known_as = "nexus" if ending == "nex" else "newick"
    path = tmp_path / f"species.{ending}"
    with pytest.raises(
        hgm.BadSpec, match=rf"has no tables.*Bio\.Phylo\.read\('.*{ending}', '{known_as}'\).*from_edges"
    ):
        hgm.load(path)
