"""The same stages made of linear maps and ReLUs, with a proof of how far they can be from exact."""
