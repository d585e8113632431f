"""Export formats: a file each, registered by name."""

from . import ctranslate2, fairseq, huggingface, pruned  # noqa: F401  (they register themselves)
