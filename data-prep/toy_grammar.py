"""The grammar of the toy corpus: one choice of words, said in German and in English."""

from __future__ import annotations

import re
from collections import namedtuple
from pathlib import Path
from typing import Any


def read_lexicon(path: Path) -> dict[str, list[Any]]:
    """Read the sections of a lexicon as named tuples; the file says how it is written."""
    lexicon: dict[str, list[Any]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            section, *columns = line.replace("[", "").replace("]", "").split()
            lexicon[section], entry = [], namedtuple(section, columns)
        elif line and not line.startswith("#"):
            shared, _, own = line.rpartition(": ")
            rows = [[*shared.split(), *cells.split()] for cells in own.split(";")]
            lexicon[section] += [entry(*map(_cell, columns, row)) for row in rows]
    return lexicon


def _cell(column: str, text: str) -> Any:
    if column == "slots":
        slots = [slot.split(":") for slot in text.split("+") if slot != "-"]
        parts = [(case, *["/", *rest][-2].split("/"), rest[-1]) for case, *rest in slots]
        return tuple(Slot(*map(_cell, Slot._fields, part)) for part in parts)
    if column in ("kinds", "subjects"):
        return tuple(text.split(","))
    return "" if text == "-" else text.replace("_", " ")


Word = namedtuple("Word", "german english")
NOTHING = Word("", "")
Slot = namedtuple("Slot", "case german english kinds")
# A noun phrase or a pronoun in all its forms; a phrase is of the kind of its determiner.
Nominal = namedtuple("Nominal", "kind agreement nom acc dat subject object")
# The arguments are pairs of a slot and the nominal that fills it.
Clause = namedtuple(
    "Clause",
    "subject verb arguments tense modal negated adverb predicate",
    defaults=((), "present", None, False, NOTHING, NOTHING),
)
LEXICON = read_lexicon(Path(__file__).with_name("toy_lexicon.txt"))
ENDINGS = {row.name: row for row in LEXICON["ending"]}
HAVE, WILL, BE = LEXICON["auxiliary"]
CONTRACTIONS = {"in dem": "im", "in das": "ins", "an dem": "am", "von dem": "vom"}
CONTRACTIONS |= {"zu dem": "zum", "zu der": "zur"}
# Clauses by number, with the place of the finite verb: in German, in English.
PATTERNS = {
    "plain": ("{0:second}.", "{0:second}."),
    "time": ("{word} {0:first}.", "{word} {0:second}."),
    "question": ("{word} {0:first}?", "{word} {0:first}?"),
    "und": ("{0:second} und {1:second}.", "{0:second} and {1:second}."),
    "aber": ("{0:second}, aber {1:second}.", "{0:second}, but {1:second}."),
    "subordinate": ("{0:second}, {word} {1:last}.", "{0:second} {word} {1:second}."),
    "fronted": ("{word} {1:last}, {0:first}.", "{word} {1:second}, {0:second}."),
}


def say(pattern: str, *clauses: Clause, word: Any = NOTHING) -> tuple[str, str]:
    """Say clauses after one of PATTERNS, in German and in English."""
    sides = []
    for text, speak, spoken in zip(PATTERNS[pattern], (german, english), word[-2:], strict=True):
        for number, order in re.findall(r"{(\d):(\w+)}", text):
            text = text.replace(f"{{{number}:{order}}}", speak(clauses[int(number)], order))
        text = text.replace("{word}", spoken).strip().replace("can not", "cannot")
        # A relative clause brings its commas, where there may be one or the end already.
        text = re.sub(r",(?=[.?])", "", re.sub(r"[ ,]*,", ",", text))
        text = re.sub(r"\b(in|an|von|zu) d\w+", lambda m: CONTRACTIONS.get(m[0], m[0]), text)
        sides.append(text[0].upper() + text[1:])
    return sides[0], sides[1]


def join(*words: str) -> str:
    """Join words with spaces, leaving out empty ones."""
    return " ".join(filter(None, words))


def ending(name: str, case: str, gender: str) -> str:
    """Return an ending of a table by case and gender: "m", "f", "n", or "p" for the plural."""
    return getattr(ENDINGS[name], case).split("/")["mfnp".index(gender)]


def phrase(
    noun: Any, determiner: Any, *adjectives: Any, plural: bool = False, relative: Any = None
) -> Nominal:
    """Make a noun phrase; `relative` is a clause whose subject is a relative pronoun."""
    gender, number = ("p", "english_plural") if plural else (noun.gender, "english")
    words = [*(word.english for word in adjectives), getattr(noun, number)]
    article = getattr(determiner, number)
    if article == "a":
        article = "" if not noun.plural else "an" if words[0][0] in "aeiou" else "a"
    after, spoken, cases = "", join(article, *words), []
    if relative:
        after, spoken = f", {german(relative, 'last')},", join(spoken, english(relative, "second"))
    for case in ("nom", "acc", "dat"):
        weak = "weak" in noun.kinds and case != "nom"
        form = noun.plural if plural or weak else noun.german
        if plural and case == "dat" and form[-1] not in "ns":
            form += "n"
        article = determiner.german + ending(determiner.article, case, gender)
        stems = (word.stem + ending(determiner.adjective, case, gender) for word in adjectives)
        cases.append(join(article, *stems, form, after))
    return Nominal(determiner.number, "3p" if plural else "3s", *cases, spoken, spoken)


def relative_pronoun(noun: Any, plural: bool) -> Nominal:
    """Return the subject of a relative clause about a noun."""
    german_form = "d" + ending("der", "nom", "p" if plural else noun.gender)
    who = "who" if "person" in noun.kinds else "that"
    return Nominal("relative", "3p" if plural else "3s", german_form, "", "", who, "")


def _conjugated(verb: Any, person: str, past: bool = False) -> str:
    stem = verb.infinitive.rpartition("+")[2]
    regular = {"ich": stem.removesuffix("n").removesuffix("e") + "e", "wir": stem}
    column = {"1s": "ich", "2s": "du", "3s": "er"}.get(person, "wir")
    if past:
        column = "past_" + column.replace("er", "ich")
    return getattr(verb, column, regular.get(column))


def german(clause: Clause, order: str) -> str:
    """Say a clause with its finite verb first, second or last."""
    verb, person, past = clause.verb, clause.subject.agreement, clause.tense == "past"
    prefix, _, stem = verb.infinitive.rpartition("+")
    if clause.modal or clause.tense == "future":
        finite, end = _conjugated(clause.modal or WILL, person, past), prefix + stem
    elif past and verb is not BE:
        auxiliary = BE if verb.auxiliary == "ist" else HAVE
        finite, end = _conjugated(auxiliary, person), verb.participle
    else:
        finite, end = _conjugated(verb, person, past), prefix
    denied = any(nominal.kind == "none" for _, nominal in clause.arguments)
    adverb = "nicht" if clause.negated and not denied else clause.adverb.german
    # What is known stands before "nicht" and adverbs, all else after them.
    known, rest = [], []
    for slot, nominal in clause.arguments:
        part = known if not slot.german and nominal.kind in ("any", "person") else rest
        part.append(join(slot.german, getattr(nominal, slot.case)))
    middle = join(*known, adverb, *rest, clause.predicate.german)
    if order == "last":
        verbs = prefix + finite if end == prefix else join(end, finite)
        return join(clause.subject.nom, middle, verbs)
    opening = (finite, clause.subject.nom) if order == "first" else (clause.subject.nom, finite)
    return join(*opening, middle, end)


def _english_verbs(clause: Clause, asked: bool) -> tuple[str, str]:
    """Return the auxiliary, if there is one, and the verbs after it."""
    verb, past, person, tail = clause.verb, clause.tense == "past", clause.subject.agreement, ""
    base = verb.english.partition("+")[0]
    if clause.tense == "future":
        return "will", base
    if verb is BE:
        singular = {"1s": ("am", "was"), "3s": ("is", "was")}
        return singular.get(person, ("are", "were"))[past], ""
    if clause.modal:
        verb, tail, base = clause.modal, f"to {base}", clause.modal.english
        if not verb.full_verb:
            return verb.past if past else base, tail.removeprefix("to ")
    if clause.negated or asked:
        return "did" if past else "does" if person == "3s" else "do", join(base, tail)
    third = re.sub(r"([^aeiou])y$", r"\1ie", re.sub(r"(sh|ch|o)$", r"\1e", base)) + "s"
    third = "has" if base == "have" else third
    return "", join(verb.past if past else third if person == "3s" else base, tail)


def english(clause: Clause, order: str) -> str:
    """Say a clause with its auxiliary first or second."""
    auxiliary, verbs = _english_verbs(clause, order == "first")
    objects = [join(slot.english, nominal.object) for slot, nominal in clause.arguments]
    # "Picks up the child" but "picks him up".
    after = bool(objects) and clause.arguments[0][1].kind == "person"
    objects.insert(int(after), clause.verb.english.partition("+")[2])
    adverb = "not" if clause.negated else clause.adverb.english
    subject = clause.subject.subject
    opening = (auxiliary, subject) if order == "first" else (subject, auxiliary)
    return join(*opening, adverb, verbs, *objects, clause.predicate.english)
