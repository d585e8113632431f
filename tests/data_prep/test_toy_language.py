"""The toy grammar: fixed trees with their known translations, and properties of many draws."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from toy_language import english, german, lexicon
from toy_language.sampler import Sampler
from toy_language.syntax import (
    Age,
    Argument,
    Attempt,
    Clause,
    Complex,
    Couple,
    Gap,
    Pair,
    Phrase,
    Quality,
    Question,
    Statement,
    Trade,
    agreement,
    gap_argument,
)

NOUNS = {noun.singular: noun for noun in lexicon.NOUNS}
ADJECTIVES = {word.german: word for word in lexicon.ADJECTIVES}
PRONOUNS = {word.english[0]: word for word in lexicon.PRONOUNS}
CAN, MUST, WANT, MAY, SHOULD = lexicon.MODALS
SAY, KNOW, *_, TELL = lexicon.REPORTING
BECAUSE, ALTHOUGH, WHILE, BEFORE = lexicon.CIRCUMSTANCES


def np(noun, determiner="the", *adjectives, **more):
    """A noun phrase by its German words."""
    return Phrase(
        NOUNS[noun], determiner, adjectives=tuple(ADJECTIVES[a] for a in adjectives), **more
    )


def many(noun, determiner="the", *adjectives, **more):
    return np(noun, determiner, *adjectives, plural=True, **more)


def verb(name, slots=None, table=lexicon.VERBS):
    """A verb by its German infinitive and, where that is not enough, its number of slots."""
    (found,) = [
        entry
        for entry in table
        if entry.prefix + entry.infinitive == name
        and (slots is None or len(entry.complements) == slots)
    ]
    return found


def do(subject, name, *nominals, place=None, slots=None, **more):
    """A clause by the German name of its verb; the nominals fill its slots in order."""
    subject = PRONOUNS.get(subject, subject) if isinstance(subject, str) else subject
    entry = verb(name, slots)
    arguments = [
        Argument(PRONOUNS[n] if isinstance(n, str) else n, complement.role)
        for n, complement in zip(nominals, entry.complements, strict=True)
    ]
    if place:
        preposition, phrase = place
        (role,) = {
            complement.role
            for complement in lexicon.PLACES[entry.place]
            if complement.role.english == preposition
            and set(complement.kinds) & set(phrase.noun.kinds)
        }
        arguments.append(Argument(phrase, role))
    return Clause(subject, entry, tuple(arguments), **more)


def be(subject, predicate, **more):
    subject = PRONOUNS.get(subject, subject) if isinstance(subject, str) else subject
    return Clause(subject, lexicon.BE, predicate=predicate, **more)


def often(name):
    return next(word for word in (*lexicon.OFTEN, lexicon.NEVER) if word.german == name)


def time(tense, name):
    return next(word for word in lexicon.TIMES[tense] if word.german == name)


DOCTOR = next(trade for trade in lexicon.PROFESSIONS if trade.english == "doctor")
OLD, TIRED, BIG, EXPENSIVE = (ADJECTIVES[name] for name in ("alt", "müde", "groß", "teuer"))
RAIN = Clause(lexicon.IT, lexicon.WEATHER[0])
WHY = lexicon.QUESTION_WORDS[0]
HE_MAN, SHE_WOMAN = Gap("m", False, True), Gap("f", False, True)
DOGS, THING = Gap("m", True, False), Gap("n", False, False)

GOLDEN = [
    # Gender, case and adjective endings
    (
        Statement(do(np("Mann", "the", "alt"), "sehen", np("Hund", "a", "klein"))),
        "Der alte Mann sieht einen kleinen Hund.",
        "The old man sees a small dog.",
    ),
    (
        Statement(do(np("Mädchen", "a", "klein"), "helfen", np("Frau", "this", "alt"))),
        "Ein kleines Mädchen hilft dieser alten Frau.",
        "A small girl helps this old woman.",
    ),
    (
        Statement(do(many("Frau", "my"), "danken", many("Kind", "our", "klug"))),
        "Meine Frauen danken unseren klugen Kindern.",
        "My women thank our clever children.",
    ),
    (
        Statement(do(np("Nachbar", "her"), "suchen", np("Junge", "every", "müde"))),
        "Ihr Nachbar sucht jeden müden Jungen.",
        "Her neighbor looks for every tired boy.",
    ),
    (
        Statement(do("they", "kaufen", np("Milch", "a", "kalt"))),
        "Sie kaufen kalte Milch.",
        "They buy cold milk.",
    ),
    (
        Statement(do(many("Junge", "all", "stark"), "essen", many("Apfel", "many", "frisch"))),
        "Alle starken Jungen essen viele frische Äpfel.",
        "All strong boys eat many fresh apples.",
    ),
    (
        Statement(do("I", "spielen", many("Katze", "number", "weiß", "alt", number=21), slots=1)),
        "Ich spiele mit einundzwanzig weißen alten Katzen.",
        "I play with twenty-one white old cats.",
    ),
    (
        Statement(do("he", "kaufen", np("Ei", "a", "teuer"))),
        "Er kauft ein teures Ei.",
        "He buys an expensive egg.",
    ),
    # Agreement of the verb
    (Statement(do("you", "einladen", "she")), "Du lädst sie ein.", "You invite her."),
    (
        Statement(do(Couple(np("Vater"), np("Mutter")), "schlafen")),
        "Der Vater und die Mutter schlafen.",
        "The father and the mother sleep.",
    ),
    (
        Statement(do("you", "essen", np("Käse", "this"))),
        "Du isst diesen Käse.",
        "You eat this cheese.",
    ),
    (Statement(do("I", "arbeiten")), "Ich arbeite.", "I work."),
    (Statement(do(np("Kind"), "weinen")), "Das Kind weint.", "The child cries."),
    # Two objects, prepositions, contractions, places
    (
        Statement(do("she", "geben", "we", np("Hut", "her", "neu"))),
        "Sie gibt uns ihren neuen Hut.",
        "She gives us her new hat.",
    ),
    (
        Statement(do("we", "warten", many("Zug"))),
        "Wir warten auf die Züge.",
        "We wait for the trains.",
    ),
    (
        Statement(do(np("Sohn"), "gehen", place=("into", np("Haus")))),
        "Der Sohn geht ins Haus.",
        "The son goes into the house.",
    ),
    (
        Statement(do("he", "fahren", tense="past", place=("to", np("Schule")))),
        "Er ist zur Schule gefahren.",
        "He drove to the school.",
    ),
    (
        Statement(do("she", "stellen", np("Glas"), place=("on", np("Tisch")))),
        "Sie stellt das Glas auf den Tisch.",
        "She places the glass on the table.",
    ),
    (
        Statement(do(np("Glas"), "stehen", place=("on", np("Tisch")))),
        "Das Glas steht auf dem Tisch.",
        "The glass stands on the table.",
    ),
    (
        Statement(do(many("Hase"), "schlafen", place=("in", np("Garten", "the", "groß")))),
        "Die Hasen schlafen im großen Garten.",
        "The rabbits sleep in the big garden.",
    ),
    # Separable verbs, tenses, modal verbs
    (
        Statement(do(np("Frau"), "anrufen", np("König"))),
        "Die Frau ruft den König an.",
        "The woman calls the king.",
    ),
    (
        Statement(do(np("Frau"), "abholen", "he", tense="past")),
        "Die Frau hat ihn abgeholt.",
        "The woman picked him up.",
    ),
    (
        Statement(do("they", "aufräumen", np("Küche"), modal=MUST, tense="past")),
        "Sie mussten die Küche aufräumen.",
        "They had to tidy up the kitchen.",
    ),
    (
        Statement(do("she", "folgen", np("Bär"), tense="future"), time("future", "morgen")),
        "Morgen wird sie dem Bären folgen.",
        "Tomorrow she will follow the bear.",
    ),
    (
        Statement(do("he", "schreiben", np("Brief", "a"), modal=WANT)),
        "Er will einen Brief schreiben.",
        "He wants to write a letter.",
    ),
    (
        Statement(do("you", "trinken", np("Tee"), modal=SHOULD), time("present", "jeden Tag")),
        "Jeden Tag sollst du den Tee trinken.",
        "Every day you should drink the tea.",
    ),
    # Negation and adverbs
    (
        Statement(do(np("Tochter"), "kaufen", np("Birne", "a", "billig"), negated=True)),
        "Die Tochter kauft keine billige Birne.",
        "The daughter does not buy a cheap pear.",
    ),
    (
        Statement(do("they", "bringen", "he", np("Messer"), tense="past", negated=True)),
        "Sie haben ihm das Messer nicht gebracht.",
        "They did not bring him the knife.",
    ),
    (
        Statement(do("I", "zuhören", "you", modal=CAN, negated=True)),
        "Ich kann dir nicht zuhören.",
        "I cannot listen to you.",
    ),
    (
        Statement(do("he", "sehen", np("Vogel", "a"), adverb=often("nie"))),
        "Er sieht nie einen Vogel.",
        "He never sees a bird.",
    ),
    (
        Statement(do("he", "ansehen", np("Bild", "my"), adverb=often("oft"))),
        "Er sieht mein Bild oft an.",
        "He often looks at my picture.",
    ),
    # To be
    (
        Statement(be(np("Hund"), Quality(BIG, np("Katze", "your")))),
        "Der Hund ist größer als deine Katze.",
        "The dog is bigger than your cat.",
    ),
    (
        Statement(be("we", Quality(TIRED), tense="past", negated=True)),
        "Wir waren nicht müde.",
        "We were not tired.",
    ),
    (
        Statement(be("I", Quality(TIRED), tense="future")),
        "Ich werde müde sein.",
        "I will be tired.",
    ),
    (
        Statement(be(np("Onkel", "his"), Age(67))),
        "Sein Onkel ist siebenundsechzig Jahre alt.",
        "His uncle is sixty-seven years old.",
    ),
    (
        Statement(be(many("Schwester", "her"), Trade(DOCTOR, "f", True))),
        "Ihre Schwestern sind Ärztinnen.",
        "Her sisters are doctors.",
    ),
    (Statement(be("he", Trade(DOCTOR, "m", False))), "Er ist Arzt.", "He is a doctor."),
    # Questions
    (
        Question(do(np("Junge"), "aufmachen", np("Tür"), tense="past"), WHY),
        "Warum hat der Junge die Tür aufgemacht?",
        "Why did the boy open the door?",
    ),
    (
        Question(do("you", "mitnehmen", "I", modal=WANT)),
        "Willst du mich mitnehmen?",
        "Do you want to take me along?",
    ),
    (
        Question(be(np("Auto"), Quality(EXPENSIVE))),
        "Ist das Auto teuer?",
        "Is the car expensive?",
    ),
    (Question(replace(RAIN, tense="future")), "Wird es regnen?", "Will it rain?"),
    # Subordinate clauses
    (
        Complex(do("he", "besuchen", "we"), lexicon.IF, RAIN),
        "Er besucht uns, wenn es regnet.",
        "He visits us if it rains.",
    ),
    (
        Complex(do("he", "einschlafen", tense="past"), BECAUSE, be("he", Quality(TIRED)), True),
        "Weil er müde ist, ist er eingeschlafen.",
        "Because he is tired, he fell asleep.",
    ),
    (
        Complex(
            do("they", "lachen", tense="past", slots=0),
            ALTHOUGH,
            do(np("Frau"), "anrufen", "I", negated=True),
        ),
        "Sie haben gelacht, obwohl die Frau mich nicht anruft.",
        "They laughed although the woman does not call me.",
    ),
    (
        Complex(
            Clause(PRONOUNS["she"], SAY, tense="past"),
            lexicon.THAT,
            do(np("Kind"), "helfen", many("Kuh"), tense="past"),
        ),
        "Sie hat gesagt, dass das Kind den Kühen geholfen hat.",
        "She said that the child helped the cows.",
    ),
    (
        Complex(
            Clause(PRONOUNS["I"], KNOW, negated=True),
            lexicon.WHETHER,
            do("they", "ankommen", place=("at", np("Bahnhof")), modal=CAN, tense="past"),
        ),
        "Ich weiß nicht, ob sie am Bahnhof ankommen konnten.",
        "I do not know whether they could arrive at the station.",
    ),
    (
        Complex(
            Clause(PRONOUNS["he"], TELL, (Argument(PRONOUNS["they"], TELL.complements[0].role),)),
            lexicon.THAT,
            do("she", "zurückkommen", tense="future"),
        ),
        "Er erzählt ihnen, dass sie zurückkommen wird.",
        "He tells them that she will come back.",
    ),
    (
        Pair(
            do(np("Kuh"), "schlafen"),
            lexicon.BUT,
            do(np("Pferd"), "laufen", place=("through", np("Wald"))),
        ),
        "Die Kuh schläft, aber das Pferd läuft durch den Wald.",
        "The cow sleeps, but the horse runs through the forest.",
    ),
    # Relative clauses
    (
        Statement(do(np("Mann", relative=do(HE_MAN, "anrufen", "she")), "lachen", slots=0)),
        "Der Mann, der sie anruft, lacht.",
        "The man who calls her laughs.",
    ),
    (
        Statement(do(np("Frau", relative=do(np("König"), "vertrauen", SHE_WOMAN)), "tanzen")),
        "Die Frau, der der König vertraut, tanzt.",
        "The woman whom the king trusts dances.",
    ),
    (
        Statement(do("we", "füttern", many("Hund", relative=do("he", "träumen", DOGS)))),
        "Wir füttern die Hunde, von denen er träumt.",
        "We feed the dogs of which he dreams.",
    ),
    (
        Statement(be(np("Buch", relative=do("I", "suchen", THING, tense="past")), Quality(OLD))),
        "Das Buch, das ich gesucht habe, ist alt.",
        "The book that I looked for is old.",
    ),
    (
        Statement(
            do("he", "sitzen", place=("in", np("Zimmer", relative=do("she", "zeigen", "I", THING))))
        ),
        "Er sitzt in dem Zimmer, das sie mir zeigt.",
        "He sits in the room that she shows me.",
    ),
    # Infinitives
    (
        Attempt(
            Clause(PRONOUNS["he"], verb("versuchen", table=lexicon.ATTEMPTING)),
            do("he", "zumachen", np("Fenster")),
        ),
        "Er versucht, das Fenster zuzumachen.",
        "He tries to close the window.",
    ),
    (
        Attempt(
            do("you", "gehen", place=("out of", np("Küche")), tense="past"),
            do("you", "sprechen", np("Tante", "our")),
            purpose=True,
        ),
        "Du bist aus der Küche gegangen, um mit unserer Tante zu sprechen.",
        "You went out of the kitchen in order to speak with our aunt.",
    ),
]


@pytest.mark.parametrize(
    ("sentence", "expected_german", "expected_english"),
    GOLDEN,
    ids=[english_text for _, _, english_text in GOLDEN],
)
def test_known_translations(sentence, expected_german, expected_english):
    assert german.say(sentence) == expected_german
    assert english.say(sentence) == expected_english


def test_numbers():
    expected = {
        2: ("zwei", "two"),
        11: ("elf", "eleven"),
        12: ("zwölf", "twelve"),
        13: ("dreizehn", "thirteen"),
        16: ("sechzehn", "sixteen"),
        17: ("siebzehn", "seventeen"),
        20: ("zwanzig", "twenty"),
        21: ("einundzwanzig", "twenty-one"),
        30: ("dreißig", "thirty"),
        67: ("siebenundsechzig", "sixty-seven"),
        99: ("neunundneunzig", "ninety-nine"),
    }
    assert {n: (german.number_word(n), english.number_word(n)) for n in expected} == expected
    assert len({german.number_word(n) for n in range(2, 100)}) == 98
    assert len({english.number_word(n) for n in range(2, 100)}) == 98


@pytest.fixture(scope="module")
def drawn():
    sampler = Sampler(11)
    return [sampler.pair() for _ in range(6000)]


def test_sentences_are_well_formed(drawn):
    for pair in drawn:
        for side in pair:
            assert 3 <= len(side.split()) <= 20
            assert side[0].isupper()
            assert side[-1] in ".?"
            assert not re.search(r" ,|,,|,[.?]|  |[.?].", side), side
        assert pair[0][-1] == pair[1][-1]


def test_a_sentence_has_one_translation_in_either_direction(drawn):
    to_english, to_german = dict(drawn), {target: source for source, target in drawn}
    assert all(to_english[source] == target for source, target in drawn)
    assert all(to_german[target] == source for source, target in drawn)


def test_articles_agree_with_their_nouns(drawn):
    """An article never stands before a form of a noun that it cannot belong to."""
    allowed: dict[str, set[str]] = {}
    for noun in lexicon.NOUNS:
        weak = noun.plural if noun.weak else noun.singular
        forms = {
            "m": {"der": [noun.singular], "den": [weak], "dem": [weak]},
            "f": {"die": [noun.singular], "der": [noun.singular]},
            "n": {"das": [noun.singular], "dem": [noun.singular]},
        }[noun.gender]
        dative = noun.plural + ("" if noun.plural.endswith(("n", "s")) else "n")
        plural = {"die": [noun.plural], "den": [dative]} if noun.plural else {}
        for table in (forms, plural):
            for article, words in table.items():
                allowed.setdefault(article, set()).update(words)
    nouns = set().union(*allowed.values())
    checked = 0
    for source, _ in drawn:
        # After a comma it may be a relative pronoun.
        articles = re.sub(r", (\w+ )?(der|die|das|den|dem) ", ", ", source)
        for article, word in re.findall(r"(?i)\b(der|die|das|den|dem) (\w+)", articles):
            if word in nouns:
                checked += 1
                assert word in allowed[article.lower()], source
    assert checked > 3000


def finite_verb(clause):
    """The last word of a clause in German once it is made subordinate."""
    return german.say(Complex(RAIN, lexicon.THAT, clause)).removesuffix(".").split()[-1]


def test_subordinate_clauses_end_with_their_finite_verb(drawn):
    variants = [{}, {"tense": "past"}, {"tense": "future"}]
    variants += [{"modal": modal} for modal in lexicon.MODALS]
    variants += [{"modal": modal, "tense": "past"} for modal in lexicon.MODALS if modal.past]
    entries = (*lexicon.VERBS, *lexicon.WEATHER, lexicon.BE)
    finite = {
        finite_verb(Clause(pronoun, entry, **variant))
        for entry in entries
        for pronoun in lexicon.PRONOUNS
        for variant in variants
    }
    assert {"schläft", "anrufe", "aufmachst", "hat", "wirst", "konnten", "waren"} <= finite
    opener = r", (?:dass|weil|obwohl|während|wenn|ob|bevor) .* (\w+)[.]$"
    ends = [match[1] for source, _ in drawn if (match := re.search(opener, source))]
    assert len(ends) > 800
    assert set(ends) <= finite


def test_everything_in_the_lexicon_is_used(drawn):
    text = {word for source, _ in drawn for word in re.findall(r"\w+", source)}
    sampler = Sampler(12)
    for _ in range(15000):
        text.update(re.findall(r"\w+", sampler.pair()[0]))
    for noun in lexicon.NOUNS:
        assert noun.singular in text
        # In some places only the dative occurs.
        assert not noun.plural or {noun.plural, f"{noun.plural}n"} & text
    assert all(entry.participle in text for entry in lexicon.VERBS)
    assert all(modal.present[2] in text for modal in lexicon.MODALS)


def test_no_subject_is_its_own_object():
    sampler = Sampler(13)
    objects = 0
    for _ in range(4000):
        sentence = sampler.sentence()
        clause = getattr(sentence, "clause", None) or getattr(sentence, "main", None)
        for argument in clause.arguments if clause else ():
            if isinstance(argument.nominal, lexicon.Pronoun):
                objects += 1
                persons = agreement(argument.nominal)[0], agreement(clause.subject)[0]
                assert persons == ("3", "3") or persons[0] != persons[1]
    assert objects > 200


def relatives(sentence):
    """The relative clauses of a statement."""
    clause = getattr(sentence, "clause", None)
    nominals = [clause.subject, *(item.nominal for item in clause.arguments)] if clause else []
    return [item.relative for item in nominals if isinstance(item, Phrase) and item.relative]


def test_german_tells_subject_from_object_in_every_relative_clause():
    """Never "die Frau, die das Kind sieht" for the woman whom the child sees."""
    sampler = Sampler(14)
    bare_accusatives = 0
    for clause in (clause for _ in range(20000) for clause in relatives(sampler.sentence())):
        gap = gap_argument(clause)
        if gap is None or gap.role.german or gap.role.case == "dat":
            continue
        bare_accusatives += 1
        masculine = gap.nominal.gender == "m" and not gap.nominal.plural
        assert masculine or clause.subject in (PRONOUNS[word] for word in ("I", "you", "he", "we"))
    assert bare_accusatives > 100


def test_times_go_with_their_tense():
    sampler = Sampler(15)
    seen = set()
    for _ in range(2000):
        sentence = sampler.sentence()
        if isinstance(sentence, Statement) and sentence.time:
            assert sentence.time in lexicon.TIMES[sentence.clause.tense]
            assert sentence.clause.adverb is None
            seen.add(sentence.clause.tense)
    assert seen == {"present", "past", "future"}


def test_no_english_verb_hides_its_tense():
    entries = (*lexicon.VERBS, *lexicon.REPORTING, *lexicon.ATTEMPTING)
    assert all(entry.english != entry.english_past for entry in entries)
    by_form: dict[tuple[str, str, str], set[str]] = {}
    for entry in entries:
        slots = str([complement.role for complement in entry.complements])
        key = entry.english, entry.particle, slots
        by_form.setdefault(key, set()).add(entry.participle)
    assert {key: forms for key, forms in by_form.items() if len(forms) > 1} == {}
