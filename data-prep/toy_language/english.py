"""English: how the trees of `syntax` are said, with do-support and fixed word order."""

from __future__ import annotations

from functools import singledispatch

from .lexicon import AND, BE, Noun, Pronoun
from .spelling import COMMA, spell
from .syntax import (
    Age,
    Argument,
    Attempt,
    Clause,
    Complex,
    Couple,
    Gap,
    Nominal,
    Pair,
    Phrase,
    Predicate,
    Quality,
    Question,
    Sentence,
    Statement,
    Trade,
    agreement,
    gap_argument,
)

Words = list[str]

_ONES, _TENS = (
    row.split()
    for row in (
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
        "fifteen sixteen seventeen eighteen nineteen",
        "twenty thirty forty fifty sixty seventy eighty ninety",
    )
)
_AM = {"1s": "am", "3s": "is"}
_WAS = {"1s": "was", "3s": "was"}


def say(sentence: Sentence) -> str:
    """Return a sentence in English."""
    return spell(_sentence(sentence), "?" if isinstance(sentence, Question) else ".")


def number_word(number: int) -> str:
    """Spell a number from 2 to 99."""
    if number < len(_ONES):
        return _ONES[number]
    tens, ones = divmod(number, 10)
    return _TENS[tens - 2] + (f"-{_ONES[ones]}" if ones else "")


@singledispatch
def _sentence(sentence: Sentence) -> Words:
    raise TypeError(sentence)


@_sentence.register
def _(sentence: Statement) -> Words:
    time = [sentence.time.english] if sentence.time else []
    return time + _declarative(sentence.clause)


@_sentence.register
def _(sentence: Question) -> Words:
    clause = sentence.clause
    word = [sentence.word.english] if sentence.word else []
    operator, verbs = _verbs(clause, operator_needed=True)
    return [*word, operator, *_nominal(clause.subject, "subject"), *verbs, *_rest(clause)]


@_sentence.register
def _(sentence: Pair) -> Words:
    comma = [] if sentence.conjunction is AND else [COMMA]
    return [
        *_declarative(sentence.first),
        *comma,
        sentence.conjunction.english,
        *_declarative(sentence.second),
    ]


@_sentence.register
def _(sentence: Complex) -> Words:
    main = _declarative(sentence.main)
    subordinate = [sentence.conjunction.english, *_declarative(sentence.subordinate)]
    if sentence.subordinate_first:
        return [*subordinate, COMMA, *main]
    return main + subordinate


@_sentence.register
def _(sentence: Attempt) -> Words:
    opener = ["in order", "to"] if sentence.purpose else ["to"]
    clause = sentence.infinitive
    return [*_declarative(sentence.main), *opener, clause.verb.english, *_rest(clause)]


def _declarative(clause: Clause) -> Words:
    operator, verbs = _verbs(clause, operator_needed=clause.negated)
    operators = [operator] if operator else []
    return [*_nominal(clause.subject, "subject"), *operators, *verbs, *_rest(clause)]


def _relative(clause: Clause) -> Words:
    gap = gap_argument(clause)
    if gap is None:
        return _declarative(clause)
    # A preposition that German has too opens the clause; one of English alone is stranded.
    pronoun = [gap.role.english] if gap.role.german else []
    pronoun += _nominal(gap.nominal, "prepositional" if gap.role.german else "object")
    return pronoun + _declarative(clause)


def _verbs(clause: Clause, *, operator_needed: bool) -> tuple[str, Words]:
    """Return the operator (the auxiliary that negation and questions use) and the other verbs."""
    person = agreement(clause.subject)
    adverb = [clause.adverb.english] if clause.adverb else []
    if operator := _own_operator(clause, person):
        # "Cannot" is the one operator that is written together with its negation.
        if clause.negated:
            operator, adverb = (
                ("cannot", adverb) if operator == "can" else (operator, ["not", *adverb])
            )
        return operator, adverb + ([] if _is_copula(clause) else [clause.verb.english])
    verb, infinitive = _full_verb(clause)
    if operator_needed:
        negation = ["not"] if clause.negated else []
        return _do(clause, person), [*negation, *adverb, verb, *infinitive]
    return "", [*adverb, _inflected(clause, verb, person), *infinitive]


def _own_operator(clause: Clause, person: str) -> str:
    """Return the auxiliary a clause has of itself, if any."""
    if clause.modal:
        modal = clause.modal.english_past if clause.tense == "past" else clause.modal.english
        return "" if modal.endswith(" to") else modal
    if clause.tense == "future":
        return "will"
    if clause.verb is BE:
        return _WAS.get(person, "were") if clause.tense == "past" else _AM.get(person, "are")
    return ""


def _is_copula(clause: Clause) -> bool:
    return clause.verb is BE and not clause.modal and clause.tense != "future"


def _full_verb(clause: Clause) -> tuple[str, Words]:
    """Return the base of the verb to inflect, and the infinitive after it."""
    if not clause.modal:
        return clause.verb.english, []
    modal = clause.modal.english_past if clause.tense == "past" else clause.modal.english
    return modal.removesuffix(" to"), ["to", clause.verb.english]


def _do(clause: Clause, person: str) -> str:
    if clause.tense == "past":
        return "did"
    return "does" if person == "3s" else "do"


def _inflected(clause: Clause, verb: str, person: str) -> str:
    if clause.tense == "past":
        return {"have": "had", "want": "wanted"}.get(verb, clause.verb.english_past)
    return _third_person(verb) if person == "3s" else verb


def _third_person(verb: str) -> str:
    if verb.endswith(("s", "sh", "ch", "x", "o")):
        return f"{verb}es"
    if verb.endswith("y") and verb[-2] not in "aeiou":
        return f"{verb[:-1]}ies"
    return f"{verb}s"


def _rest(clause: Clause) -> Words:
    """Say what follows the verbs: particle, arguments, predicate."""
    particle = [clause.verb.particle] if clause.verb.particle else []
    arguments = [_argument(item) for item in clause.arguments]
    # "Picks up the child" but "picks him up".
    if particle and clause.arguments and isinstance(clause.arguments[0].nominal, Pronoun):
        arguments.insert(1, particle)
    else:
        arguments.insert(0, particle)
    predicate = _predicate(clause.predicate) if clause.predicate else []
    return [*(word for words in arguments for word in words), *predicate]


@singledispatch
def _predicate(predicate: Predicate) -> Words:
    raise TypeError(predicate)


@_predicate.register
def _(predicate: Quality) -> Words:
    if predicate.than is None:
        return [predicate.adjective.english]
    return [predicate.adjective.english_more, "than", *_phrase(predicate.than)]


@_predicate.register
def _(predicate: Age) -> Words:
    return [number_word(predicate.years), "years", "old"]


@_predicate.register
def _(predicate: Trade) -> Words:
    profession = predicate.profession
    if predicate.plural:
        return [profession.english_plural]
    return _with_article(profession.english)


def _argument(item: Argument) -> Words:
    preposition = [item.role.english] if item.role.english else []
    if isinstance(item.nominal, Gap):
        return [] if item.role.german else preposition
    return preposition + _nominal(item.nominal, "object")


def _nominal(nominal: Nominal, function: str) -> Words:
    if isinstance(nominal, Pronoun):
        return [nominal.english[0 if function == "subject" else 1]]
    if isinstance(nominal, Gap):
        return [_relative_pronoun(nominal, function)]
    if isinstance(nominal, Couple):
        return [*_phrase(nominal.first), AND.english, *_phrase(nominal.second)]
    return _phrase(nominal)


def _relative_pronoun(gap: Gap, function: str) -> str:
    if gap.person:
        return "who" if function == "subject" else "whom"
    return "which" if function == "prepositional" else "that"


def _phrase(phrase: Phrase) -> Words:
    words = [word.english for word in phrase.adjectives]
    words.append(_noun(phrase.noun, phrase.plural))
    relative = _relative(phrase.relative) if phrase.relative else []
    return _determined(phrase, words) + relative


def _determined(phrase: Phrase, words: Words) -> Words:
    if phrase.determiner == "number":
        return [number_word(phrase.number), *words]
    if phrase.determiner == "this" and phrase.plural:
        return ["these", *words]
    if phrase.determiner != "a":
        return [phrase.determiner, *words]
    if phrase.plural or not phrase.noun.plural:
        return words
    return _with_article(*words)


def _with_article(*words: str) -> Words:
    return ["an" if words[0][0] in "aeiou" else "a", *words]


def _noun(noun: Noun, plural: bool) -> str:
    return noun.english_plural if plural else noun.english
