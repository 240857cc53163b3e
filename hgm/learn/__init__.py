"""Potentials from data."""
