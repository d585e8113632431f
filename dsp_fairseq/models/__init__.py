"""One file a model family: its sites, its criterion, its architectures."""
