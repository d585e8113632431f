#!/usr/bin/env python3
"""Write a small German-English parallel corpus from a grammar made for this project."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import prep_common as common
from toy_grammar import BE, LEXICON, NOTHING, Clause, Nominal, Word, phrase, relative_pronoun, say

from dsp_text.errors import TextError

DESCRIPTION = """\
Write a small German-English parallel corpus from a grammar made for this project.

The sentences are short but correct: gender, case and agreement, verbs at the end of
subordinate clauses, separable verbs, modal verbs, relative clauses, numbers. Each has one
translation. No sentence comes twice, in neither language, within or across the splits. The
same seed and sizes give the same files, byte by byte.
"""
EPILOG = """\
example:
  python data-prep/toy_corpus.py --out data/toy-raw
  head -3 data/toy-raw/train.de data/toy-raw/train.en

writes train, valid and test .de and .en into data/toy-raw. prepare-toy.sh does this and
makes a fairseq data folder of it in one go.
"""
MOST_PAIRS = 200_000  # The grammar has more, but this many come within a minute.
KINDS = ["plain"] * 15 + ["time"] * 8 + ["question"] * 7 + ["report"] * 7 + ["joined"] * 13
TENSES = ["present"] * 11 + ["past"] * 6 + ["future"] * 3
VERBS = [verb for verb in LEXICON["verb"] if "/" not in verb.place]
REPORTING = [verb for verb in LEXICON["verb"] if "/" in verb.place]
*PERSONS, IT = LEXICON["pronoun"]


class Sampler:
    """Draws sentence pairs: sensible ones, and only those that have one translation."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._choice = self._random.choice

    def pair(self) -> tuple[str, str]:
        """Draw a sentence of 3 to 20 words and return it in German and in English."""
        while True:
            # A noun comes twice only where no other fits; one relative clause is enough.
            self._used, self._relatives = set[Any](), 0
            pair = self._sentence(self._choice(KINDS), self._choice(TENSES))
            if all(3 <= len(side.split()) <= 20 for side in pair):
                return pair

    def _sentence(self, kind: str, tense: str) -> tuple[str, str]:
        background = "past" if tense == "past" else "present"
        if kind == "report":
            verb = self._choice(REPORTING)
            main = self._action(background, verb, negatable=False)
            return say("subordinate", main, self._clause(tense), word=Word(*verb.place.split("/")))
        main = self._clause(tense, negatable=kind != "question")
        if kind == "question":
            word = self._choice((NOTHING, self._word("question")))
            main = main if word is NOTHING else main._replace(adverb=NOTHING)
            return say("question", main, word=word)
        if kind == "time" and main.verb is not BE:
            return say("time", main._replace(adverb=NOTHING), word=self._word(tense))
        word = self._word("conjunction")
        if kind != "joined" or (word.german == "wenn" and tense == "past"):
            return say("plain", main)
        if word.german in ("und", "aber"):
            return say(word.german, main, self._clause(tense))
        other = self._clause(background, negatable=word.german != "bevor")
        return say(self._choice(("fronted", "subordinate")), main, other, word=word)

    def _clause(self, tense: str, negatable: bool = True) -> Clause:
        if self._chance(0.12):
            return self._description(tense, negatable)
        return self._action(tense, self._choice(VERBS), negatable=negatable)

    def _action(self, tense: str, verb: Any, subject: Any = None, negatable: bool = True) -> Clause:
        negated = negatable and verb.subjects != ("it",) and self._chance(0.15)
        adverb = self._word("adverb") if not negated and self._chance(0.15) else NOTHING
        definite = negated or adverb.german == "nie"
        subject = subject or self._nominal("nom", verb.subjects, definite=definite)
        may_have_modal = tense != "future" and verb.subjects == ("person",)
        modal = self._choice(LEXICON["modal"]) if may_have_modal and self._chance(0.25) else None
        places = [row.slots[0] for row in LEXICON["place"] if row.name == verb.place]
        slots = list(verb.slots)
        if places and (verb.place != "spot" or self._chance(0.3 if slots else 0.6)):
            slots.append(self._choice(places))
        arguments = []
        for slot in slots:
            # Only what comes last is new, denied by "kein" or has a relative clause.
            last = slot == slots[-1]
            known = definite or not last or (slot in places and self._chance(0.7))
            denied = negated and last and not slot.german and self._chance(0.5)
            options = {"definite": known, "denied": denied, "last": last}
            nominal = self._nominal(slot.case, slot.kinds, subject.agreement[0], **options)
            arguments.append((slot, nominal))
        return Clause(subject, verb, tuple(arguments), tense, modal, negated, adverb)

    def _description(self, tense: str, negatable: bool) -> Clause:
        word, draw = self._choice(LEXICON["adjective"]), self._random.random()
        predicate, kinds = Word(word.german, word.english), (self._choice(word.kinds),)
        if draw < 0.15:
            years, kinds = self._random.randrange(13, 100), ("person",)
            predicate = Word(f"{years} Jahre alt", f"{years} years old")
        elif draw < 0.45:
            than = self._phrase(kinds, definite=True, last=False)
            predicate = Word(
                f"{word.more} als {than.nom}", f"{word.english_more} than {than.object}"
            )
        subject = self._nominal("nom", kinds, definite=True, described=False)
        negated = negatable and self._chance(0.2)
        return Clause(subject, BE, (), tense, negated=negated, predicate=predicate)

    def _nominal(self, case: str, kinds: Any, person: str = "3", **options: bool) -> Nominal:
        """Draw a phrase or a pronoun that makes no reflexive with a subject of this person."""
        if kinds == ("it",):
            return IT
        if not {"person", "animate"} & set(kinds) or self._chance(0.78):
            return self._phrase(kinds, **options)
        fitting = [word for word in PERSONS if getattr(word, case)]
        return self._choice([w for w in fitting if person == "3" or w.agreement[0] != person])

    def _phrase(self, kinds: Any, **options: bool) -> Nominal:
        """Draw a phrase; options: definite, denied and, true by default, described and last."""
        nouns = [noun for noun in LEXICON["noun"] if set(kinds) & set(noun.kinds)]
        noun = self._choice([noun for noun in nouns if noun not in self._used] or nouns)
        self._used.add(noun)
        plural = bool(noun.plural) and self._chance(0.33)
        new = ("bare", "many") if plural else ("one",) if noun.plural else ("bare",)
        numbers = ("any",) if options.get("definite") else ("any", *new)
        numbers = ("none",) if options.get("denied") else numbers
        words = [word for word in LEXICON["determiner"] if word.number in numbers]
        (determiner,) = self._random.choices(words, [int(word.weight) for word in words])
        adjectives: list[Any] = []
        words = [word for word in LEXICON["adjective"] if set(word.kinds) & set(noun.kinds)]
        while options.get("described", True) and words and self._chance(0.33):
            adjectives.append(self._choice(words))
            words = [word for word in words if word.rank > adjectives[-1].rank]
        relative, doing = None, [verb for verb in VERBS if set(verb.subjects) & set(noun.kinds)]
        heads = doing and options.get("last", True) and determiner.number in ("any", "one")
        if heads and not self._relatives and self._chance(0.12):
            self._relatives += 1
            who, tense = relative_pronoun(noun, plural), self._choice(("present", "past"))
            relative = self._action(tense, self._choice(doing), who)
        return phrase(noun, determiner, *adjectives, plural=plural, relative=relative)

    def _word(self, use: str) -> Any:
        return self._choice([word for word in LEXICON["word"] if word.use == use])

    def _chance(self, probability: float) -> bool:
        return self._random.random() < probability


def draw_pairs(count: int, seed: int) -> list[tuple[str, str]]:
    """Draw pairs of which no two share their German or their English, in random order.

    Raises TextError for more than MOST_PAIRS.
    """
    if count > MOST_PAIRS:
        raise TextError(f"{count} pairs are too many; ask for {MOST_PAIRS} or fewer")
    sampler, pairs, seen = Sampler(seed), dict[str, str](), set[str]()
    while len(pairs) < count:
        german, english = sampler.pair()
        if german not in pairs and english not in seen:
            pairs[german] = english
            seen.add(english)
    # Short sentences run out as the drawing goes on: every split gets its share of them.
    return random.Random(seed).sample(list(pairs.items()), count)


def write_corpus(folder: Path, sizes: dict[str, int], seed: int) -> None:
    """Write splits of these sizes, one UTF-8 sentence a line, into an existing folder."""
    pairs = iter(draw_pairs(sum(sizes.values()), seed))
    for split, size in sizes.items():
        chosen = [next(pairs) for _ in range(size)]
        for language, lines in zip(("de", "en"), zip(*chosen, strict=True), strict=True):
            text = "".join(f"{line}\n" for line in lines)
            (folder / f"{split}.{language}").write_bytes(text.encode())


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = common.CommandParser(description=DESCRIPTION, epilog=EPILOG)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to make")
    for split, size in (("train", 20000), ("valid", 500), ("test", 500)):
        options = {"type": common.positive_int, "default": size, "metavar": "N"}
        text = f"pairs in the {split} split (default %(default)s)"
        parser.add_argument(f"--{split}", help=text, **options)
    parser.add_argument("--seed", type=int, default=1, help="default %(default)s")
    args = parser.parse_args(argv)
    common.require_new(args.out)
    sizes = {"train": args.train, "valid": args.valid, "test": args.test}
    common.step(f"drawing {sum(sizes.values())} sentence pairs")
    with common.staged_folder(args.out) as folder:
        write_corpus(folder, sizes, args.seed)
    common.step(f"wrote {args.out}")


if __name__ == "__main__":
    common.run_command(main)
