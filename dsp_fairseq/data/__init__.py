"""Binarised data, as fairseq reads it."""
