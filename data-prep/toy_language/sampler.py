"""Draws sentences at random: sensible ones, and only those that have one translation."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import TypeVar

from . import english, german
from .lexicon import (
    ADJECTIVES,
    AND,
    ANIMATE,
    ATTEMPTING,
    BE,
    BEFORE,
    BUT,
    CIRCUMSTANCES,
    IF,
    IT,
    KNOW,
    MODALS,
    MUST,
    NEVER,
    NOUNS,
    OBJECT,
    OFTEN,
    PERSON,
    PLACES,
    PROFESSIONS,
    PRONOUNS,
    QUESTION_WORDS,
    REPORTING,
    THAT,
    TIMES,
    VERBS,
    WEATHER,
    WHETHER,
    Adjective,
    Case,
    Complement,
    Gender,
    Kinds,
    Modal,
    Noun,
    Pronoun,
    Verb,
    Word,
)
from .syntax import (
    Age,
    Argument,
    Attempt,
    Clause,
    Complex,
    Couple,
    Determiner,
    Gap,
    Nominal,
    Pair,
    Phrase,
    Predicate,
    Quality,
    Question,
    Sentence,
    Statement,
    Tense,
    Trade,
    agreement,
)

SHORTEST, LONGEST = 3, 20

Item = TypeVar("Item")
Weights = dict[Item, int]

_SENTENCES: Weights[str] = {
    "statement": 44,
    "question": 12,
    "report": 12,
    "circumstance": 16,
    "pair": 7,
    "attempt": 9,
}
_TENSES: Weights[Tense] = {"present": 55, "past": 32, "future": 13}
_POSSESSIVES: Weights[Determiner] = {"my": 3, "your": 2, "his": 3, "her": 3, "our": 3}
_DEFINITE: Weights[Determiner] = {"the": 44, "this": 8, **_POSSESSIVES}
_SINGULAR: Weights[Determiner] = {**_DEFINITE, "a": 26, "every": 4}
_PLURAL: Weights[Determiner] = {**_DEFINITE, "a": 12, "all": 5, "many": 6, "number": 20}
_MASS: Weights[Determiner] = {**_DEFINITE, "a": 30}
# What can be denied, or said of "never", and mean the same in both languages.
_PLAIN: Weights[Determiner] = {**_DEFINITE, "a": 26}
_MODIFIABLE = frozenset({*_DEFINITE, "a", "every"})

_GOING = tuple(verb for verb in VERBS if verb.place == "goal" and verb.subjects == PERSON)
_PERSONAL = tuple(verb for verb in VERBS if "person" in verb.subjects)
# These show by their form alone that they are subjects.
_NOMINATIVES = tuple(word for word in PRONOUNS if word.german[0] != "sie")


class Sampler:
    """Draws sentence pairs; the same seed gives the same pairs."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._used: set[Noun] = set()

    def pair(self) -> tuple[str, str]:
        """Draw a sentence of 3 to 20 words and return it in German and in English."""
        while True:
            sentence = self.sentence()
            pair = german.say(sentence), english.say(sentence)
            if all(SHORTEST <= len(side.split()) <= LONGEST for side in pair):
                return pair

    def sentence(self) -> Sentence:
        """Draw the tree of a sentence; a noun comes twice only where no other fits."""
        self._used.clear()
        return getattr(self, f"_{self._weighted(_SENTENCES)}")()

    # Sentences

    def _statement(self) -> Statement:
        tense = self._weighted(_TENSES)
        clause = self._clause(tense)
        if not isinstance(clause.predicate, (Age, Trade)) and self._chance(0.35):
            return Statement(replace(clause, adverb=None), self._choice(TIMES[tense]))
        if self._chance(0.25):
            clause = self._with_relative(clause)
        return Statement(clause)

    def _question(self) -> Question:
        clause = self._clause(self._weighted(_TENSES), manner=self._chance(0.4), negatable=False)
        if self._chance(0.35):
            return Question(replace(clause, adverb=None), self._choice(QUESTION_WORDS))
        return Question(clause)

    def _report(self) -> Complex:
        if self._chance(0.2):
            verb, conjunction, negated = KNOW, WHETHER, True
        else:
            verb, conjunction, negated = self._choice(REPORTING), THAT, False
        tense: Tense = "past" if self._chance(0.4) else "present"
        subject = self._subject(verb.subjects, plain=negated)
        main = self._action(tense, verb, manner=False, subject=subject)
        subordinate = self._clause("past" if tense == "past" else self._weighted(_TENSES))
        return Complex(replace(main, negated=negated), conjunction, subordinate)

    def _circumstance(self) -> Complex:
        first = self._chance(0.4)
        if self._chance(0.25):
            main = self._clause("future" if self._chance(0.5) else "present")
            return Complex(main, IF, self._clause("present"), first)
        tense: Tense = "past" if self._chance(0.5) else "present"
        conjunction = self._choice(CIRCUMSTANCES)
        subordinate = self._clause(tense)
        if conjunction is BEFORE:
            subordinate = replace(subordinate, negated=False, adverb=None)
        return Complex(self._clause(tense), conjunction, subordinate, first)

    def _pair(self) -> Pair:
        tense = self._weighted(_TENSES)
        conjunction = self._choice((AND, BUT))
        return Pair(self._clause(tense), conjunction, self._clause(tense))

    def _attempt(self) -> Attempt:
        purpose = self._chance(0.4)
        verb = self._choice(_GOING if purpose else ATTEMPTING)
        main = self._action(self._weighted(_TENSES), verb, manner=False)
        aim = self._action("present", self._choice(_PERSONAL), manner=False, subject=main.subject)
        return Attempt(main, aim, purpose)

    # Clauses

    def _clause(self, tense: Tense, *, manner: bool = True, negatable: bool = True) -> Clause:
        draw = self._random.random()
        if draw < 0.03:
            return Clause(IT, self._choice(WEATHER), tense=tense)
        if draw < 0.18:
            return self._description(tense)
        verb = self._choice(VERBS)
        return self._action(tense, verb, manner=manner, negatable=negatable)

    def _action(
        self,
        tense: Tense,
        verb: Verb,
        *,
        manner: bool = True,
        negatable: bool = True,
        subject: Nominal | None = None,
        gap: Argument | None = None,
    ) -> Clause:
        """Draw a clause with this verb; `manner` lets it have a modal, a denial or an adverb."""
        modal = self._modal(tense, verb) if manner else None
        negated = manner and negatable and modal is not MUST and self._chance(0.15)
        adverb = self._adverb(modal) if manner and not negated and self._chance(0.15) else None
        plain = negated or adverb is NEVER
        subject = subject or self._subject(verb.subjects, plain=plain)
        arguments = tuple(
            gap if gap and gap.role == slot.role else self._argument(slot, subject, verb, plain)
            for slot in self._slots(verb)
        )
        return Clause(subject, verb, arguments, tense, modal, negated, adverb)

    def _description(self, tense: Tense) -> Clause:
        subject = self._subject((*ANIMATE, *OBJECT), plain=True)
        predicate = self._predicate(subject)
        simple = isinstance(predicate, Quality) and predicate.than is None
        negated = simple and self._chance(0.2)
        return Clause(subject, BE, tense=tense, negated=negated, predicate=predicate)

    def _predicate(self, subject: Nominal) -> Predicate:
        kinds, ranks = PERSON, set()
        if isinstance(subject, Phrase):
            kinds, ranks = subject.noun.kinds, {word.rank for word in subject.adjectives}
        if kinds == PERSON and self._chance(0.15):
            return Age(self._random.randrange(2, 100))
        sex = _sex(subject)
        if sex and self._chance(0.2):
            return Trade(self._choice(PROFESSIONS), sex, agreement(subject) == "3p")
        fitting = [word for word in _adjectives(kinds) if word.rank not in ranks]
        adjective = self._choice(fitting)
        if not self._chance(0.35):
            return Quality(adjective)
        return Quality(adjective, Phrase(self._noun(kinds), self._weighted(_DEFINITE)))

    def _modal(self, tense: Tense, verb: Verb) -> Modal | None:
        if tense == "future" or "person" not in verb.subjects or not self._chance(0.22):
            return None
        return self._choice([word for word in MODALS if tense == "present" or word.past])

    def _adverb(self, modal: Modal | None) -> Word:
        return self._choice(OFTEN if modal is MUST else (*OFTEN, NEVER))

    def _slots(self, verb: Verb) -> tuple[Complement, ...]:
        """Return the slots to fill, often with a place where the verb can do without."""
        needed = verb.place in ("goal", "target")
        if verb.place and (needed or self._chance(0.3 if verb.complements else 0.6)):
            return (*verb.complements, self._choice(PLACES[verb.place]))
        return verb.complements

    def _argument(self, slot: Complement, subject: Nominal, verb: Verb, plain: bool) -> Argument:
        if "person" in slot.kinds and self._chance(0.2):
            return Argument(self._choice(_object_pronouns(slot.role.case, subject)), slot.role)
        # A receiver is known; that keeps the denial next to what is given.
        receiver = len(verb.complements) > 1 and slot.role.case == "dat"
        known = receiver or (slot in PLACES.get(verb.place, ()) and self._chance(0.8))
        return Argument(self._phrase(self._noun(slot.kinds), plain=plain, known=known), slot.role)

    def _with_relative(self, clause: Clause) -> Clause:
        """Hang a relative clause on the subject, or on a last argument that ends the clause."""
        if _is_modifiable(clause.subject) and self._chance(0.6):
            return replace(clause, subject=self._modified(clause.subject))
        if not _ends_with_argument(clause) or not _is_modifiable(clause.arguments[-1].nominal):
            return clause
        last = clause.arguments[-1]
        last = replace(last, nominal=self._modified(last.nominal))
        return replace(clause, arguments=(*clause.arguments[:-1], last))

    def _modified(self, head: Phrase) -> Phrase:
        kinds = head.noun.kinds
        gap = Gap(head.noun.gender, head.plural, "person" in kinds)
        tense: Tense = "past" if self._chance(0.35) else "present"
        doing = [verb for verb in VERBS if _share(kinds, verb.subjects)]
        if doing and self._chance(0.5):
            relative = self._action(tense, self._choice(doing), subject=gap)
        else:
            relative = self._object_relative(tense, gap, kinds)
        return replace(head, relative=relative)

    def _object_relative(self, tense: Tense, gap: Gap, kinds: Kinds) -> Clause:
        verb, slot = self._choice(_undergoing(kinds))
        told_by_gap = slot.role.german or slot.role.case == "dat" or _is_den(gap)
        # Where the relative pronoun might be the subject, the subject must not be an object.
        subject = None if told_by_gap else self._choice(_NOMINATIVES)
        return self._action(tense, verb, subject=subject, gap=Argument(gap, slot.role))

    # Nominals

    def _subject(self, kinds: Kinds, *, plain: bool) -> Nominal:
        if "person" in kinds and self._chance(0.25):
            return self._choice(PRONOUNS)
        if "person" in kinds and self._chance(0.07):
            return Couple(
                *(Phrase(self._noun(PERSON), self._weighted(_DEFINITE)) for _ in range(2))
            )
        return self._phrase(self._noun(kinds), plain=plain)

    def _phrase(self, noun: Noun, *, plain: bool = False, known: bool = False) -> Phrase:
        plural = bool(noun.plural) and self._chance(0.33)
        determiner = self._weighted(_determiners(noun, plural, plain, known))
        number = self._number() if determiner == "number" else 0
        return Phrase(noun, determiner, plural, self._attributes(noun), number)

    def _attributes(self, noun: Noun) -> tuple[Adjective, ...]:
        fitting = _adjectives(noun.kinds)
        if not fitting or not self._chance(0.4):
            return ()
        first = self._choice(fitting)
        second = self._choice(fitting)
        if first.rank == second.rank or self._chance(0.7):
            return (first,)
        return (first, second) if first.rank < second.rank else (second, first)

    def _number(self) -> int:
        return self._random.randrange(2, 13 if self._chance(0.6) else 100)

    def _noun(self, kinds: Kinds) -> Noun:
        fitting = _nouns(kinds)
        noun = self._choice([noun for noun in fitting if noun not in self._used] or fitting)
        self._used.add(noun)
        return noun

    # Chance

    def _chance(self, probability: float) -> bool:
        return self._random.random() < probability

    def _choice(self, items: Sequence[Item]) -> Item:
        return self._random.choice(items)

    def _weighted(self, weights: Weights[Item]) -> Item:
        return self._random.choices(list(weights), list(weights.values()))[0]


def _share(some: Kinds, others: Kinds) -> bool:
    return not set(some).isdisjoint(others)


@cache
def _nouns(kinds: Kinds) -> tuple[Noun, ...]:
    return tuple(noun for noun in NOUNS if _share(noun.kinds, kinds))


@cache
def _adjectives(kinds: Kinds) -> tuple[Adjective, ...]:
    return tuple(word for word in ADJECTIVES if _share(word.kinds, kinds))


@cache
def _undergoing(kinds: Kinds) -> tuple[tuple[Verb, Complement], ...]:
    """Return the verbs that can be done to a noun of these kinds, with the slot it fills."""
    return tuple(
        (verb, slot) for verb in VERBS for slot in verb.complements if _share(kinds, slot.kinds)
    )


def _determiners(noun: Noun, plural: bool, plain: bool, known: bool) -> Weights[Determiner]:
    if known:
        return _DEFINITE
    if plain:
        return _PLAIN
    if not noun.plural:
        return _MASS
    return _PLURAL if plural else _SINGULAR


def _object_pronouns(case: Case, subject: Nominal) -> list[Pronoun]:
    """Return the pronouns that do not call for a reflexive: no "I see me", no "we see me"."""
    form = ("nom", "acc", "dat").index(case)
    person = agreement(subject)[0]
    return [
        word
        for word in PRONOUNS
        if word.german[form] and (person == "3" or word.agreement[0] != person)
    ]


def _sex(subject: Nominal) -> Gender | None:
    """Return the sex that decides between German professions, where the subject shows it."""
    if isinstance(subject, Pronoun):
        return {"he": "m", "she": "f"}.get(subject.english[0])
    if isinstance(subject, Phrase) and "person" in subject.noun.kinds:
        return None if subject.noun.gender == "n" else subject.noun.gender
    return None


def _is_den(gap: Gap) -> bool:
    """Tell whether the gap's accusative differs from its nominative."""
    return gap.gender == "m" and not gap.plural


def _is_modifiable(nominal: Nominal) -> bool:
    return (
        isinstance(nominal, Phrase)
        and nominal.determiner in _MODIFIABLE
        and bool(_undergoing(nominal.noun.kinds))
    )


def _ends_with_argument(clause: Clause) -> bool:
    """Tell whether nothing follows or weighs on the last argument in German."""
    return (
        bool(clause.arguments)
        and clause.tense == "present"
        and not (clause.modal or clause.negated or clause.adverb or clause.verb.prefix)
    )
