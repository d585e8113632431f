"""A small German-English language: one lexicon, one abstract syntax, a grammar for each side.

`sampler` draws abstract sentences (`syntax`) over the words of `lexicon`; `german` and
`english` each put such a sentence into words. No translation is ever written down: both
sides say the same tree, so they agree with each other by construction.
"""
