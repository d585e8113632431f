import pytest
import torch

from dsp_fairseq.heads.head_map import HeadMap
from dsp_fairseq.heads.layout import HeadLayout, Site

LAYOUT = HeadLayout({Site("encoder.self", 0): 2, Site("decoder.self", 0): 3})
IMPORTANCE = torch.tensor([0.5, -1.0, 2.0, 0.25, 0.0])


def _map(budget, frozen=True, importance=IMPORTANCE):
    mask = torch.zeros(5)
    mask[IMPORTANCE.argsort(descending=True)[:budget]] = 1.0
    return HeadMap(LAYOUT, importance, mask, frozen, budget)


def test_it_counts_per_kind_and_names_heads_per_site():
    head_map = _map(3)
    assert head_map.kept == {Site("encoder.self", 0): [0], Site("decoder.self", 0): [0, 1]}
    assert head_map.count("encoder.self") == (1, 2)
    assert head_map.count("decoder.self") == (2, 3)


def test_the_margin_is_between_the_last_kept_and_the_first_closed():
    assert _map(3).margin == pytest.approx(0.25)
    assert _map(0).margin is None
    assert _map(5).margin is None
    assert _map(3, importance=None).margin is None


@pytest.mark.parametrize(
    ("budget", "frozen", "words"),
    [(3, True, "frozen"), (3, False, "not frozen"), (5, False, "without a choice")],
)
def test_its_standing_says_whether_the_choice_is_final(budget, frozen, words):
    assert words in _map(budget, frozen).standing
