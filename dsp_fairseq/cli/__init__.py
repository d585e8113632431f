"""The commands: a parser, and one thin main each."""
