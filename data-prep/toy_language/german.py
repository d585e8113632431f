"""German: how the trees of `syntax` are said, with cases, endings and verbs at the end."""

from __future__ import annotations

from dataclasses import dataclass
from functools import singledispatch

from .lexicon import AND, BE, Case, Gender, Noun, Pronoun, Verb
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

# Rows by case, columns: masculine, feminine, neuter, plural.
_COLUMNS = ("m", "f", "n", "p")
_DEFINITE = {"nom": "der die das die", "acc": "den die das die", "dat": "dem der dem den"}
_RELATIVE = {"nom": "der die das die", "acc": "den die das die", "dat": "dem der dem denen"}
_STRONG = {"nom": "er e es e", "acc": "en e es e", "dat": "em er em en"}
_WEAK = {"nom": "e e e en", "acc": "en e e en", "dat": "en en en en"}
_MIXED = {"nom": "er e es en", "acc": "en e es en", "dat": "en en en en"}
_EIN = {"nom": "- e - e", "acc": "en e - e", "dat": "em er em en"}

_CASES: tuple[Case, ...] = ("nom", "acc", "dat")
_AGREEMENTS = ("1s", "2s", "3s", "1p", "3p")
_DER_WORDS = {"this": "dies", "every": "jed", "all": "all"}
_EIN_WORDS = {
    "a": "ein",
    "no": "kein",
    "my": "mein",
    "your": "dein",
    "his": "sein",
    "her": "ihr",
    "our": "unser",
}
_CONTRACTIONS = {
    ("in", "dem"): "im",
    ("in", "das"): "ins",
    ("an", "dem"): "am",
    ("zu", "dem"): "zum",
    ("zu", "der"): "zur",
    ("von", "dem"): "vom",
}
_IRREGULAR = {
    "sein": "bin bist ist sind sind",
    "haben": "habe hast hat haben haben",
    "werden": "werde wirst wird werden werden",
    "wissen": "weiß weißt weiß wissen wissen",
}
_ONES, _TENS = (
    row.split()
    for row in (
        "null ein zwei drei vier fünf sechs sieben acht neun zehn elf zwölf",
        "zwanzig dreißig vierzig fünfzig sechzig siebzig achtzig neunzig",
    )
)
_TEENS = {16: "sechzehn", 17: "siebzehn"}

# After these an adverb may follow; before the others it stands.
_DEFINITE_DETERMINERS = {"the", "this", "my", "your", "his", "her", "our"}


def say(sentence: Sentence) -> str:
    """Return a sentence in German."""
    return spell(_sentence(sentence), "?" if isinstance(sentence, Question) else ".")


def number_word(number: int) -> str:
    """Spell a number from 2 to 99; units come before tens."""
    if number < len(_ONES):
        return _ONES[number]
    if number < 20:
        return _TEENS.get(number, f"{_ONES[number - 10]}zehn")
    tens, ones = divmod(number, 10)
    return (f"{_ONES[ones]}und" if ones else "") + _TENS[tens - 2]


@singledispatch
def _sentence(sentence: Sentence) -> Words:
    raise TypeError(sentence)


@_sentence.register
def _(sentence: Statement) -> Words:
    if sentence.time is None:
        return _main(sentence.clause)
    return [sentence.time.german, *_inverted(sentence.clause)]


@_sentence.register
def _(sentence: Question) -> Words:
    word = [sentence.word.german] if sentence.word else []
    return word + _inverted(sentence.clause)


@_sentence.register
def _(sentence: Pair) -> Words:
    comma = [] if sentence.conjunction is AND else [COMMA]
    return [
        *_main(sentence.first),
        *comma,
        sentence.conjunction.german,
        *_main(sentence.second),
    ]


@_sentence.register
def _(sentence: Complex) -> Words:
    subordinate = [sentence.conjunction.german, *_subordinate(sentence.subordinate)]
    if sentence.subordinate_first:
        return [*subordinate, COMMA, *_inverted(sentence.main)]
    return [*_main(sentence.main), COMMA, *subordinate]


@_sentence.register
def _(sentence: Attempt) -> Words:
    opener = ["um"] if sentence.purpose else []
    return [*_main(sentence.main), COMMA, *opener, *_infinitive(sentence.infinitive)]


def _main(clause: Clause) -> Words:
    verbs = _verbs(clause)
    return [*_subject(clause), verbs.finite, *_middle(clause), *verbs.closing]


def _inverted(clause: Clause) -> Words:
    verbs = _verbs(clause)
    return [verbs.finite, *_subject(clause), *_middle(clause), *verbs.closing]


def _subordinate(clause: Clause) -> Words:
    verbs = _verbs(clause)
    # A separable prefix is written together with the finite verb here.
    end = [f"{verbs.prefix}{verbs.finite}"] if verbs.prefix else [*verbs.closing, verbs.finite]
    return [*_subject(clause), *_middle(clause), *end]


def _infinitive(clause: Clause) -> Words:
    verb = clause.verb
    zu = [f"{verb.prefix}zu{verb.infinitive}"] if verb.prefix else ["zu", verb.infinitive]
    return _middle(clause) + zu


def _relative(clause: Clause) -> Words:
    gap = gap_argument(clause)
    return [COMMA, *(_argument(gap) if gap else []), *_subordinate(clause), COMMA]


@dataclass(frozen=True)
class _Verbs:
    """The finite verb and what closes the clause; `prefix` if that is a prefix."""

    finite: str
    closing: Words
    prefix: str = ""


def _verbs(clause: Clause) -> _Verbs:
    verb, person = clause.verb, _AGREEMENTS.index(agreement(clause.subject))
    infinitive = [f"{verb.prefix}{verb.infinitive}"]
    if clause.modal and clause.tense == "past":
        return _Verbs(_past(clause.modal.past, person), infinitive)
    if clause.modal:
        return _Verbs(clause.modal.present[person], infinitive)
    if clause.tense == "future":
        return _Verbs(_irregular("werden", person), infinitive)
    if clause.tense == "past" and verb is BE:
        return _Verbs(_was(person), [])
    if clause.tense == "past":
        return _Verbs(_irregular(verb.auxiliary, person), [verb.participle])
    closing = [verb.prefix] if verb.prefix else []
    return _Verbs(_present(verb, person), closing, verb.prefix)


def _present(verb: Verb, person: int) -> str:
    if verb.infinitive in _IRREGULAR:
        return _irregular(verb.infinitive, person)
    stem = verb.infinitive.removesuffix("n").removesuffix("e")
    changed = verb.third.removesuffix("t")
    second = f"{changed}t" if changed.endswith(("s", "ß", "z")) else f"{changed}st"
    return (f"{stem}e", second, verb.third, verb.infinitive, verb.infinitive)[person]


def _irregular(infinitive: str, person: int) -> str:
    return _IRREGULAR[infinitive].split()[person]


def _past(third: str, person: int) -> str:
    return (third, f"{third}st", third, f"{third}n", f"{third}n")[person]


def _was(person: int) -> str:
    return ("war", "warst", "war", "waren", "waren")[person]


def _subject(clause: Clause) -> Words:
    return _nominal(clause.subject, "nom")


def _middle(clause: Clause) -> Words:
    """Say what stands between subject and closing verb, with "nicht" or an adverb inside."""
    arguments = [item for item in clause.arguments if not isinstance(item.nominal, Gap)]
    denied = next((item for item in arguments if clause.negated and _takes_kein(item)), None)
    adverb = [clause.adverb.german] if clause.adverb else []
    if clause.negated and denied is None:
        adverb.append("nicht")
    head = [item for item in arguments if _precedes_adverb(item)]
    tail = [item for item in arguments if not _precedes_adverb(item)]
    words: Words = []
    for item in head:
        words += _argument(item)
    words += adverb
    for item in tail:
        words += _argument(item, denied=item is denied)
    return words + (_predicate(clause.predicate) if clause.predicate else [])


def _precedes_adverb(item: Argument) -> bool:
    nominal = item.nominal
    if item.role.german:
        return False
    return not isinstance(nominal, Phrase) or nominal.determiner in _DEFINITE_DETERMINERS


def _takes_kein(item: Argument) -> bool:
    nominal = item.nominal
    return isinstance(nominal, Phrase) and nominal.determiner == "a" and not item.role.german


@singledispatch
def _predicate(predicate: Predicate) -> Words:
    raise TypeError(predicate)


@_predicate.register
def _(predicate: Quality) -> Words:
    if predicate.than is None:
        return [predicate.adjective.german]
    return [predicate.adjective.german_more, "als", *_phrase(predicate.than, "nom")]


@_predicate.register
def _(predicate: Age) -> Words:
    return [number_word(predicate.years), "Jahre", "alt"]


@_predicate.register
def _(predicate: Trade) -> Words:
    return [predicate.profession.german[predicate.gender, predicate.plural]]


def _argument(item: Argument, *, denied: bool = False) -> Words:
    words = _nominal(item.nominal, item.role.case, denied=denied)
    if not item.role.german:
        return words
    contracted = _CONTRACTIONS.get((item.role.german, words[0]))
    # A relative clause wants the full article: "in dem Haus, das ...".
    if contracted and isinstance(item.nominal, Phrase) and not item.nominal.relative:
        return [contracted, *words[1:]]
    return [item.role.german, *words]


def _nominal(nominal: Nominal, case: Case, *, denied: bool = False) -> Words:
    if isinstance(nominal, Pronoun):
        return [nominal.german[_CASES.index(case)]]
    if isinstance(nominal, Gap):
        return [_cell(_RELATIVE, case, nominal.gender, nominal.plural)]
    if isinstance(nominal, Couple):
        return [*_phrase(nominal.first, case), AND.german, *_phrase(nominal.second, case)]
    return _phrase(nominal, case, denied=denied)


def _phrase(phrase: Phrase, case: Case, *, denied: bool = False) -> Words:
    determiner, endings = _determiner(phrase, case, "no" if denied else phrase.determiner)
    ending = _cell(endings, case, phrase.noun.gender, phrase.plural)
    adjectives = [f"{word.stem or word.german}{ending}" for word in phrase.adjectives]
    relative = _relative(phrase.relative) if phrase.relative else []
    return [*determiner, *adjectives, _noun(phrase.noun, case, phrase.plural), *relative]


def _determiner(phrase: Phrase, case: Case, key: str) -> tuple[Words, dict[str, str]]:
    """Return the determiner and the declension it asks of the adjectives."""
    gender, plural = phrase.noun.gender, phrase.plural
    if key == "the":
        return [_cell(_DEFINITE, case, gender, plural)], _WEAK
    if key in _DER_WORDS:
        return [_DER_WORDS[key] + _cell(_STRONG, case, gender, plural)], _WEAK
    if key == "number":
        return [number_word(phrase.number)], _STRONG
    if key == "many":
        return ["viel" + _cell(_STRONG, case, gender, plural)], _STRONG
    if key == "a" and (plural or not phrase.noun.plural):
        return [], _STRONG
    return [_EIN_WORDS[key] + _cell(_EIN, case, gender, plural)], _MIXED


def _noun(noun: Noun, case: Case, plural: bool) -> str:
    if not plural:
        return noun.plural if noun.weak and case != "nom" else noun.singular
    if case == "dat" and not noun.plural.endswith(("n", "s")):
        return f"{noun.plural}n"
    return noun.plural


def _cell(table: dict[str, str], case: Case, gender: Gender, plural: bool) -> str:
    cell = table[case].split()[_COLUMNS.index("p" if plural else gender)]
    return "" if cell == "-" else cell
