"""Reading, checking and writing checkpoints."""
