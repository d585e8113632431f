"""Recipes, runs and sweeps."""

from . import classification, translation  # noqa: F401  (they register themselves)
