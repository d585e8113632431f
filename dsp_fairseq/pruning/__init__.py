"""The pruning life of a model: flags, gates, freeze, optimizer, and what fairseq forces."""
