from dsp_fairseq.export.parity import TIE, Hypothesis, Translations, agree


def _translations(*hypotheses, size):
    sources = [[4, 5]] * len(hypotheses)
    return Translations(None, None, sources, list(hypotheses), size=size, longest=200)


def test_sentences_are_equal_or_ties_or_different():
    ours = [Hypothesis((4, 2), -0.5), Hypothesis((5, 2), -0.5), Hypothesis((6, 2), -0.5)]
    theirs = [ours[0], Hypothesis((7, 2), -0.5 + TIE / 2), Hypothesis((7, 2), -0.5 + TIE * 2)]
    found = agree(_translations(*ours, size=3), theirs)
    assert (found.sentences, found.equal, found.ties, found.left_out) == (3, 1, 1, 0)
    assert str(found).endswith("1 of 3 hypotheses are the same; of 2 others 1 are ties in score")


def test_sentences_that_were_left_out_are_counted():
    ours = [Hypothesis((4, 2), -0.5)]
    assert "2 of 3 sentences are too long" in str(agree(_translations(*ours, size=3), ours))
