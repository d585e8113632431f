"""The toy corpus: known translations, endings, and the files it writes."""

from __future__ import annotations

import hashlib

import pytest
import toy_corpus
from toy_grammar import LEXICON, Clause, Word, phrase, relative_pronoun, say

WORDS = {row.german: row for row in LEXICON["noun"] + LEXICON["adjective"]}
DETERMINERS = {row.german or "-": row for row in LEXICON["determiner"]}
VERBS = {row.infinitive: row for name in ("verb", "modal", "auxiliary") for row in LEXICON[name]}
PRONOUNS = {row.nom: row for row in LEXICON["pronoun"]}
EXAMPLES = """\
plain: ein alt Gast, geben, dies Kind*, d neu Ball
Ein alter Gast gibt diesen Kindern den neuen Ball.|An old guest gives these children the new ball.
plain: d Nichte, ab+holen, er, nicht
Die Nichte holt ihn nicht ab.|The niece does not pick him up.
question warum why: d Nachbar, an+rufen, mein König
Warum ruft der Nachbar meinen König an?|Why does the neighbor call my king?
plain: ich, ab+holen, d Junge, müssen, past
Ich musste den Jungen abholen.|I had to pick up the boy.
plain: sie, kaufen, kein teuer Apfel*, nicht, past
Sie haben keine teuren Äpfel gekauft.|They did not buy expensive apples.
time bald soon: d Kuh*, folgen, ihr Auto, future
Bald werden die Kühe ihrem Auto folgen.|Soon the cows will follow her car.
subordinate weil because: ich, ein+schlafen, past / sie, zu+machen, d Tür
Ich bin eingeschlafen, weil sie die Tür zumachen.|I fell asleep because they close the door.
fronted wenn if: du, warten, d Bus, können, nicht / es, schneien
Wenn es schneit, kannst du nicht auf den Bus warten.|If it snows, you cannot wait for the bus.
aber: ich, singen / d Katze!an+kommen, folgen, er
Ich singe, aber die Katze, die ankommt, folgt ihm.|I sing, but the cat that arrives follows him."""
ENDINGS = """\
d alt Hut: der alte Hut, den alten Hut, dem alten Hut
d alt Blume: die alte Blume, die alte Blume, der alten Blume
d alt Buch: das alte Buch, das alte Buch, dem alten Buch
d alt Buch*: die alten Bücher, die alten Bücher, den alten Büchern
mein alt Hut: mein alter Hut, meinen alten Hut, meinem alten Hut
mein alt Buch*: meine alten Bücher, meine alten Bücher, meinen alten Büchern
- kalt Milch: kalte Milch, kalte Milch, kalter Milch
zwei teuer Ei*: zwei teure Eier, zwei teure Eier, zwei teuren Eiern
kein Junge: kein Junge, keinen Jungen, keinem Jungen"""


def nominal(text):
    """Read "ich", or a determiner, adjectives, a noun; "*" is plural, "!" a relative clause."""
    text, _, verb = text.partition("!")
    *stems, noun = text.removesuffix("*").split()
    if not stems:
        return PRONOUNS[noun]
    plural, adjectives = text.endswith("*"), [WORDS[stem] for stem in stems[1:]]
    relative = Clause(relative_pronoun(WORDS[noun], plural), VERBS[verb]) if verb else None
    return phrase(WORDS[noun], DETERMINERS[stems[0]], *adjectives, plural=plural, relative=relative)


def clause(text):
    """Read "subject, verb, objects, options"."""
    subject, verb, *rest = text.split(", ")
    slots, modal = VERBS[verb].slots, next((VERBS[word] for word in rest if word in VERBS), None)
    tense = "".join({"past", "future"}.intersection(rest)) or "present"
    arguments = tuple(zip(slots, map(nominal, rest[: len(slots)]), strict=True))
    return Clause(nominal(subject), VERBS[verb], arguments, tense, modal, "nicht" in rest)


@pytest.mark.parametrize(("spec", "known"), zip(*[iter(EXAMPLES.split("\n"))] * 2, strict=True))
def test_known_translations(spec, known):
    (pattern, *word), clauses = (spec.split(": ")[0].split(), spec.split(": ")[1].split(" / "))
    assert "|".join(say(pattern, *map(clause, clauses), word=Word(*(word or ("", ""))))) == known


@pytest.mark.parametrize("line", ENDINGS.split("\n"))
def test_articles_adjectives_and_nouns_agree(line):
    text, cases = line.split(": ")
    assert ", ".join(nominal(text)[2:5]) == cases


def test_default_corpus_is_large_leaks_nothing_and_stays_as_it_is(tmp_path):
    toy_corpus.main(["--out", str(tmp_path / "toy")])
    digest = hashlib.sha256()
    for code in ("de", "en"):
        files = [tmp_path / f"toy/{split}.{code}" for split in ("train", "valid", "test")]
        splits = [file.read_text(encoding="utf-8").splitlines() for file in files]
        assert [len(lines) for lines in splits] == [20000, 500, 500]
        assert len({line for lines in splits for line in lines}) == 21000
        digest.update(b"".join(file.read_bytes() for file in files))
    assert digest.hexdigest()[:16] == "8b86678aabab77ec"  # A change on purpose changes it.


def test_a_sentence_has_one_translation_in_either_direction():
    sampler = toy_corpus.Sampler(11)
    drawn = {sampler.pair() for _ in range(6000)}
    assert [len(set(side)) for side in zip(*drawn, strict=True)] == [len(drawn), len(drawn)]


def test_the_seed_decides_the_draw():
    assert toy_corpus.draw_pairs(200, seed=5) == toy_corpus.draw_pairs(200, seed=5)
    assert toy_corpus.draw_pairs(200, seed=5) != toy_corpus.draw_pairs(200, seed=6)


def test_bad_requests_are_refused_in_one_line(refusal, tmp_path):
    (tmp_path / "toy").mkdir()
    assert "remove it" in refusal(toy_corpus, ["--out", str(tmp_path / "toy")])
    new = ["--out", str(tmp_path / "new"), "--train"]
    assert "above 0" in refusal(toy_corpus, [*new, "0"])
    assert "ask for 200000 or fewer" in refusal(toy_corpus, [*new, "200000"])
    assert list(tmp_path.iterdir()) == [tmp_path / "toy"]
