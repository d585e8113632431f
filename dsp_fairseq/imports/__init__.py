"""Pretrained models of other libraries, as checkpoints."""
