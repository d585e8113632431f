"""What a toy sentence says, apart from any language: trees over the words of the lexicon."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .lexicon import Adjective, Gender, Modal, Noun, Profession, Pronoun, Role, Verb, Word

Tense = Literal["present", "past", "future"]
Determiner = Literal[
    "the", "a", "this", "every", "all", "many", "number", "my", "your", "his", "her", "our"
]


@dataclass(frozen=True)
class Phrase:
    """A noun with all that belongs to it; "a" stands for no article where none is used."""

    noun: Noun
    determiner: Determiner = "the"
    plural: bool = False
    adjectives: tuple[Adjective, ...] = ()
    number: int = 0
    relative: Clause | None = None


@dataclass(frozen=True)
class Couple:
    """Two phrases joined by "and"."""

    first: Phrase
    second: Phrase


@dataclass(frozen=True)
class Gap:
    """What a relative clause says of its head: a relative pronoun takes its place."""

    gender: Gender
    plural: bool
    person: bool


Nominal = Phrase | Couple | Gap | Pronoun


@dataclass(frozen=True)
class Argument:
    """A nominal in the role that a verb or a place gives it."""

    nominal: Nominal
    role: Role


@dataclass(frozen=True)
class Quality:
    """A predicate: being big, or bigger than someone else."""

    adjective: Adjective
    than: Phrase | None = None


@dataclass(frozen=True)
class Age:
    """A predicate: being so many years old."""

    years: int


@dataclass(frozen=True)
class Trade:
    """A predicate: being a doctor; the subject's sex and number decide the German form."""

    profession: Profession
    gender: Gender
    plural: bool


Predicate = Quality | Age | Trade


@dataclass(frozen=True)
class Clause:
    """A subject with a verb and all that goes with it."""

    subject: Nominal
    verb: Verb
    arguments: tuple[Argument, ...] = ()
    tense: Tense = "present"
    modal: Modal | None = None
    negated: bool = False
    adverb: Word | None = None
    predicate: Predicate | None = None


@dataclass(frozen=True)
class Statement:
    """A clause on its own, perhaps opened by a time."""

    clause: Clause
    time: Word | None = None


@dataclass(frozen=True)
class Question:
    """A clause turned into a question, perhaps opened by a question word."""

    clause: Clause
    word: Word | None = None


@dataclass(frozen=True)
class Pair:
    """Two clauses of equal rank."""

    first: Clause
    conjunction: Word
    second: Clause


@dataclass(frozen=True)
class Complex:
    """A clause with a subordinate one, which may come first."""

    main: Clause
    conjunction: Word
    subordinate: Clause
    subordinate_first: bool = False


@dataclass(frozen=True)
class Attempt:
    """A clause followed by an infinitive (to find ...), perhaps one of purpose."""

    main: Clause
    infinitive: Clause
    purpose: bool = False


Sentence = Statement | Question | Pair | Complex | Attempt


def agreement(nominal: Nominal) -> str:
    """Return the person and number a verb agrees with: 1s, 2s, 3s, 1p or 3p."""
    if isinstance(nominal, Pronoun):
        return nominal.agreement
    return "3p" if isinstance(nominal, Couple) or nominal.plural else "3s"


def gap_argument(clause: Clause) -> Argument | None:
    """Return the argument of a relative clause that is its gap, unless the subject is."""
    return next((item for item in clause.arguments if isinstance(item.nominal, Gap)), None)
