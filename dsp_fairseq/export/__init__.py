"""Checkpoints without the closed heads, in several formats."""
