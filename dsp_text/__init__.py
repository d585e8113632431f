"""From raw text to subword tokens and back: what data-prep/ does, and scoring undoes.

It stands apart from ``dsp_fairseq``, since it needs neither torch nor fairseq, whose import takes
seconds.
"""
