"""What the tests of the bridge to pyro share."""

import pyro
import pytest
import torch


@pytest.fixture
def double():
    """pyro as it begins: no parameters, its seed, and float64 by default, for as long as a test runs."""
    pyro.clear_param_store()
    pyro.set_rng_seed(0)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)
    pyro.clear_param_store()
