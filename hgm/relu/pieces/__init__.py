"""Piecewise-linear functions of one variable, their best approximations, and their exact errors."""
