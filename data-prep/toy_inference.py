"""The toy corpus of premises and hypotheses, made for this project from a few words."""

from __future__ import annotations

import random
from collections.abc import Iterator

from nli_examples import Example

from dsp_text.errors import TextError

# What may be said of a scene, in the order of the sentence: for each kind the general words, and
# what they stand for. Two words of one kind exclude each other, unless one stands for the other.
LEXICON = {
    "mood": {"cheerful": ("happy", "proud"), "gloomy": ("sad", "angry")},
    "subject": {
        "child": ("boy", "girl"),
        "relative": ("uncle", "aunt"),
        "artist": ("painter", "dancer"),
    },
    "clothes": {
        "in warm clothes": ("in a coat", "in a sweater"),
        "in light clothes": ("in a shirt", "in a dress"),
    },
    "action": {
        "makes music": ("sings", "plays the piano"),
        "has a meal": ("eats soup", "eats an apple"),
        "rests": ("sleeps", "lies down"),
        "moves": ("runs", "walks"),
    },
    "place": {
        "indoors": ("in the kitchen", "in the cellar", "in the library"),
        "outdoors": ("in the garden", "in the park", "on the beach"),
    },
}
SHARES = {"mood": 0.5, "subject": 1, "clothes": 0.5, "action": 1, "place": 0.7}
"""How often a premise says something of a kind."""

GENERALLY = 0.2
"""How often it does so in a general word."""

LABELS = ("entailment", "neutral", "contradiction")
MOST = 60_000
"""Examples; there are more premises, but these come within seconds."""

_MEANT = {word: group for kind in LEXICON.values() for group, ws in kind.items() for word in ws}
_WORDS = {kind: [*groups, *(w for ws in groups.values() for w in ws)]
          for kind, groups in LEXICON.items()}  # fmt: skip

Scene = dict[str, str]
"""A word for each kind that something is said of."""


def follows(word: str, stated: str) -> bool:
    """Whether what is stated by a word of the same kind says this, too."""
    return word in (stated, _MEANT.get(stated))


def say(scene: Scene) -> str:
    """Return the sentence of a scene."""
    words = [scene[kind] for kind in LEXICON if kind in scene]
    return f"{'An' if words[0][0] in 'aeiou' else 'A'} {' '.join(words)}."


class Sampler:
    """Draws premises, and hypotheses of which one is true, one may be, and one is not."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._choice = self._random.choice

    def premise(self) -> Scene:
        """Draw a scene of which something is left to ask."""
        while True:
            kinds = [kind for kind, share in SHARES.items() if self._chance(share)]
            scene = {kind: self._word(kind, GENERALLY) for kind in kinds}
            if self._open(scene):
                return scene

    def hypothesis(self, premise: Scene, label: str) -> Scene:
        """Draw a scene that follows from a premise, contradicts it, or does neither."""
        scene = {}
        for kind, word in premise.items():
            if kind in ("subject", "action") or self._chance(0.6):
                scene[kind] = _MEANT.get(word, word) if self._chance(0.3) else word
        if label == "neutral":
            kind = self._choice(self._open(premise))
            stated = premise.get(kind)
            words = _WORDS[kind] if stated is None else LEXICON[kind][stated]
            scene[kind] = self._choice(words)
        elif label == "contradiction":
            kind = self._choice(list(premise))
            stated = premise[kind]
            words = [w for w in _WORDS[kind] if not follows(w, stated) and not follows(stated, w)]
            scene[kind] = self._choice(words)
        return scene

    def _open(self, scene: Scene) -> list[str]:
        """The kinds of which a scene says nothing, or something general."""
        return [kind for kind in LEXICON if scene.get(kind) not in _MEANT]

    def _word(self, kind: str, generally: float) -> str:
        groups = LEXICON[kind]
        group = self._choice(list(groups))
        return group if self._chance(generally) else self._choice(groups[group])

    def _chance(self, probability: float) -> bool:
        return self._random.random() < probability


def draw_examples(count: int, seed: int) -> Iterator[Example]:
    """Yield examples, three to a premise, one of each label; no premise comes twice.

    Raises TextError for more than MOST.
    """
    if count > MOST:
        raise TextError(f"{count} toy pairs are too many; ask for {MOST} or fewer")
    sampler, seen = Sampler(seed), set[str]()
    while len(seen) * len(LABELS) < count:
        premise = sampler.premise()
        if say(premise) in seen:
            continue
        for label in LABELS[: count - len(seen) * len(LABELS)]:
            yield Example("toy", label, (say(premise), say(sampler.hypothesis(premise, label))))
        seen.add(say(premise))
