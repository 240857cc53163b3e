"""Potentials from data; one loop that trains any network."""
