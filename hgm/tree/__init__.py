"""A model as data: `Tree`, its potentials and names, and what its structure tells. NumPy and SciPy, no torch."""
