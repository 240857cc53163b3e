"""Single values in YAML and JSON, by the rules of YAML 1.2."""

from math import inf

import pytest

import hgm
from hgm.files.text import read


def test_every_scalar_of_yaml_1_2_has_its_type(path):
    """By the core schema of YAML 1.2.2, section 10.3.2."""
    written = {
        "true": True, "True": True, "TRUE": True, "FALSE": False, "tRUE": "tRUE", "Null": None, "NULL": None, "~": None,
        "0": 0, "-0": 0, "+12": 12, "007": 7, "0x1F": 31, "0xg": "0xg", "0o17": 15, "0o8": "0o8", "0b1": "0b1",
        "1.": 1.0, ".5": 0.5, "-1E+2": -100.0, "1_000": "1_000", "1e": "1e", ".inf": inf, "-.INF": -inf, "+.Inf": inf,
        "inf": "inf", "2024-01-01": "2024-01-01", "12:30": "12:30", "yes": "yes", "Off": "Off", "=": "=", "<<": "<<",
    }  # fmt: skip
    path.write_text("".join(f"- {text}\n" for text in written))
    assert list(map(repr, read(path).data)) == list(map(repr, written.values()))
    keys: dict[object, str] = {}  # one for each value
    for text, value in written.items():
        if value is not None:
            keys.setdefault(value, text)
    path.write_text("".join(f"{text}: 1\n" for text in keys.values()))
    assert list(map(repr, read(path).data)) == list(map(repr, keys))


@pytest.mark.parametrize("number", ["9" * 400, "-" + "9" * 400])
def test_whole_numbers_of_400_digits_are_read(tmp_path, number):
    for path in (tmp_path / "a.yaml", tmp_path / "a.json"):
        path.write_text(f"[{number}]")
        assert read(path).data == [int(number)]
        path.write_text(f"[{number}9]")
        with pytest.raises(hgm.BadSpec, match="has 401 digits"):
            read(path)
