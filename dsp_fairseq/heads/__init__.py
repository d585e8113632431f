"""The heads of a model: which there are, and which are kept."""
