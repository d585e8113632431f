"""Recipes, runs and sweeps."""

from . import translation  # noqa: F401  (it registers itself)
