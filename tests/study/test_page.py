"""The page on studies says nothing that the studies did not find."""

import re

import pytest
from places import ROOT, needs_checkout

from hgm.study import STUDIES

pytestmark = needs_checkout
PAGE = (ROOT / "docs" / "studies.md") if ROOT else None


def sections():
    """Of each study: its text on the page, by its name, which is the anchor of its heading."""
    parts = re.split(r"^## .*\{ #([\w-]+) \}$", PAGE.read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_each_study_has_a_section():
    assert set(sections()) == set(STUDIES)


@pytest.mark.parametrize("name", STUDIES)
def test_a_section_asks_says_and_limits(name):
    text = sections()[name]
    for part in ("**Question.**", "hgm study " + name, "**What it does not show.**", f"studies/{name}/study.md"):
        assert part in text, part


@pytest.mark.parametrize("name", STUDIES)
def test_every_number_of_a_finding_stands_in_the_study(name):
    text, found = sections()[name], (ROOT / "docs" / "studies" / name / "study.md").read_text()
    finding = text.partition("**Finding.**")[2].partition("**What else could explain it.**")[0]
    numbers = set(re.findall(r"(?<![\w.])\d+\.\d+(?:%|\b)", finding))
    if finding:
        assert numbers
    missing = [number for number in sorted(numbers) if number not in found]
    assert not missing, missing
