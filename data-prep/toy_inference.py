"""The toy corpus of premises and hypotheses, made for this project from a few words."""

from __future__ import annotations

import random
from collections.abc import Iterator

from nli_examples import Example

from dsp_text.errors import TextError

# What a premise says of somebody, kind by kind. Words between commas mean the same, and exclude
# those behind the slash.
LEXICON = {
    "size": "big, large / small, little",
    "mood": "happy, cheerful / sad, unhappy",
    "subject": "boy / girl / man / woman / dog / cat / horse / rabbit / king / queen / pilot / "
    "nurse / doctor / tailor / sheep / mouse / baker / farmer / goat / bear / teacher / singer / "
    "duck / frog",
    "action": "sleeps, naps / runs, races",
    "place": "in the woods, in the forest / at home, in the house",
}
LABELS = ("entailment", "neutral", "contradiction")
STATED = 0.7
"""How often a premise says something of a kind; the subject it always names."""

MOST = 12_000
"""Examples; there are more premises, but the last are hard to draw."""

_MEANINGS = {
    kind: [meaning.split(", ") for meaning in words.split(" / ")] for kind, words in LEXICON.items()
}
_ASKED = [kind for kind in LEXICON if kind != "subject"]

Scene = dict[str, tuple[int, str]]
"""For each kind that a premise says something of, the number of the meaning and the word."""


class Sampler:
    """Draws premises and, for each, hypotheses that are true, may be true, and are not."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._choice = self._random.choice

    def premise(self) -> Scene:
        """Draw what a premise says, so that every label has a hypothesis."""
        while True:
            said = [kind for kind in _ASKED if self._random.random() < STATED]
            scene = {kind: self._word(kind) for kind in ("subject", *said)}
            if len(said) < len(_ASKED) and {scene[kind][0] for kind in said} == {0, 1}:
                return scene

    def hypothesis(self, premise: Scene, label: str) -> str:
        """Draw a sentence about the subject of a premise that it says, leaves open, or excludes."""
        meaning = {"entailment": 0, "contradiction": 1}.get(label)
        kind = self._choice([k for k in _ASKED if premise.get(k, (None,))[0] == meaning])
        be = "" if kind == "action" else "is "
        return f"The {premise['subject'][1]} {be}{self._choice(_MEANINGS[kind][0])}."

    def _word(self, kind: str) -> tuple[int, str]:
        meaning = self._random.randrange(len(_MEANINGS[kind]))
        return meaning, self._choice(_MEANINGS[kind][meaning])


def say(premise: Scene) -> str:
    """Return the sentence of a premise."""
    words = [premise[kind][1] for kind in ("size", "mood", "subject") if kind in premise]
    does = premise["action"][1] if "action" in premise else "is"
    where = premise["place"][1] if "place" in premise else "here" if does == "is" else ""
    return " ".join(filter(None, ("A", *words, does, where))) + "."


def draw_examples(count: int, seed: int) -> Iterator[Example]:
    """Yield examples, one of each label to a premise; no premise comes twice.

    Raises TextError for more than MOST.
    """
    if count > MOST:
        raise TextError(f"{count} toy pairs are too many; ask for {MOST} or fewer")
    sampler, seen, left = Sampler(seed), set[str](), count
    while left:
        premise = sampler.premise()
        if say(premise) in seen:
            continue
        seen.add(say(premise))
        for label in LABELS[:left]:
            yield Example("toy", label, (say(premise), sampler.hypothesis(premise, label)))
        left -= len(LABELS[:left])
