"""Network files of format 1: they load, and the networks give the outputs that were stored when they were written."""

import pytest
import torch
from places import NETWORKS
from safetensors.torch import load_file

import hgm

NAMES = sorted(path.stem for path in NETWORKS.glob("*.safetensors") if not path.stem.endswith(".answer"))


@pytest.mark.parametrize("name", NAMES)
def test_a_file_of_format_1_gives_its_stored_outputs(name):
    answer = load_file(NETWORKS / f"{name}.answer.safetensors")
    net = hgm.load_network(NETWORKS / f"{name}.safetensors")
    observation = [answer[f"obs.{i}"] for i in range(sum(key.startswith("obs.") for key in answer))]
    named = {key.removeprefix("kw."): tensor for key, tensor in answer.items() if key.startswith("kw.")}
    with torch.no_grad():
        got = net(*observation, **named)
    assert got.dtype == answer["output"].dtype and got.shape == answer["output"].shape
    assert float((got - answer["output"]).abs().max()) < (1e-12 if got.dtype == torch.float64 else 1e-6)


def test_the_files_of_format_1_are_found():
    assert len(NAMES) == 9
