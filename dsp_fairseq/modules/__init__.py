"""Attention whose heads can be scaled, left out or removed."""
