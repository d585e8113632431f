"""The words of the toy language, as data; every entry carries its German and its English.

Forms are listed where they are irregular and left to the rules of `german` and `english`
where they are not. No two entries share their German or their English within one use, and
no English verb looks the same in the present and in the past, so that a sentence has one
translation, whichever side it is read from.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Case = Literal["nom", "acc", "dat"]
Gender = Literal["m", "f", "n"]
Kinds = tuple[str, ...]


@dataclass(frozen=True)
class Noun:
    """A noun; one without plural is a mass noun, a weak one ends in -n but in the nominative."""

    gender: Gender
    singular: str
    plural: str
    english: str
    english_plural: str
    kinds: Kinds
    weak: bool = False


@dataclass(frozen=True)
class Adjective:
    """An adjective with its comparatives; `stem` is what endings are added to."""

    german: str
    german_more: str
    english: str
    english_more: str
    kinds: Kinds
    rank: int
    stem: str = ""


@dataclass(frozen=True)
class Role:
    """How a verb or a place marks a noun phrase: by case and by preposition, if any."""

    case: Case
    german: str = ""
    english: str = ""


@dataclass(frozen=True)
class Complement:
    """A slot of a verb: how it is marked and which kinds of noun fill it."""

    role: Role
    kinds: Kinds


@dataclass(frozen=True)
class Verb:
    """A verb, its forms (without a separable prefix, but for the participle) and its slots."""

    infinitive: str
    third: str
    participle: str
    english: str
    english_past: str
    subjects: Kinds = ()
    complements: tuple[Complement, ...] = ()
    prefix: str = ""
    particle: str = ""
    auxiliary: str = "haben"
    place: str = ""


@dataclass(frozen=True)
class Modal:
    """A modal verb, German by agreement; English "... to" is a full verb, given by its base."""

    present: tuple[str, str, str, str, str]
    past: str
    english: str
    english_past: str


@dataclass(frozen=True)
class Pronoun:
    """A personal pronoun in German (by case) and in English (subject, object)."""

    agreement: str
    german: tuple[str, str, str]
    english: tuple[str, str]


@dataclass(frozen=True)
class Word:
    """An uninflected word or phrase."""

    german: str
    english: str


@dataclass(frozen=True)
class Profession:
    """What someone is by trade; German has a form for each sex and number."""

    german: dict[tuple[Gender, bool], str]
    english: str
    english_plural: str


PERSON = ("person",)
ANIMATE = ("person", "animal")
OBJECT = ("thing", "vehicle", "furniture", "opening")
WARES = (*OBJECT, "food")
LANDMARK = ("place", "landmark")
SIZED = (*ANIMATE, *OBJECT, "place")

NOUNS = (
    Noun("m", "Mann", "Männer", "man", "men", PERSON),
    Noun("m", "Junge", "Jungen", "boy", "boys", PERSON, weak=True),
    Noun("m", "Vater", "Väter", "father", "fathers", PERSON),
    Noun("m", "Bruder", "Brüder", "brother", "brothers", PERSON),
    Noun("m", "Sohn", "Söhne", "son", "sons", PERSON),
    Noun("m", "Onkel", "Onkel", "uncle", "uncles", PERSON),
    Noun("m", "König", "Könige", "king", "kings", PERSON),
    Noun("m", "Nachbar", "Nachbarn", "neighbor", "neighbors", PERSON, weak=True),
    Noun("f", "Frau", "Frauen", "woman", "women", PERSON),
    Noun("f", "Mutter", "Mütter", "mother", "mothers", PERSON),
    Noun("f", "Schwester", "Schwestern", "sister", "sisters", PERSON),
    Noun("f", "Tochter", "Töchter", "daughter", "daughters", PERSON),
    Noun("f", "Tante", "Tanten", "aunt", "aunts", PERSON),
    Noun("f", "Königin", "Königinnen", "queen", "queens", PERSON),
    Noun("n", "Kind", "Kinder", "child", "children", PERSON),
    Noun("n", "Mädchen", "Mädchen", "girl", "girls", PERSON),
    Noun("m", "Hund", "Hunde", "dog", "dogs", ("animal",)),
    Noun("m", "Vogel", "Vögel", "bird", "birds", ("animal",)),
    Noun("m", "Bär", "Bären", "bear", "bears", ("animal",), weak=True),
    Noun("m", "Hase", "Hasen", "rabbit", "rabbits", ("animal",), weak=True),
    Noun("f", "Katze", "Katzen", "cat", "cats", ("animal",)),
    Noun("f", "Kuh", "Kühe", "cow", "cows", ("animal",)),
    Noun("f", "Maus", "Mäuse", "mouse", "mice", ("animal",)),
    Noun("n", "Pferd", "Pferde", "horse", "horses", ("animal",)),
    Noun("n", "Schwein", "Schweine", "pig", "pigs", ("animal",)),
    Noun("m", "Ball", "Bälle", "ball", "balls", ("thing",)),
    Noun("m", "Brief", "Briefe", "letter", "letters", ("thing", "writing")),
    Noun("m", "Schlüssel", "Schlüssel", "key", "keys", ("thing",)),
    Noun("m", "Hut", "Hüte", "hat", "hats", ("thing",)),
    Noun("m", "Koffer", "Koffer", "suitcase", "suitcases", ("thing", "lid")),
    Noun("f", "Tasche", "Taschen", "bag", "bags", ("thing", "lid")),
    Noun("f", "Lampe", "Lampen", "lamp", "lamps", ("thing", "upright")),
    Noun("f", "Flasche", "Flaschen", "bottle", "bottles", ("thing", "lid", "upright")),
    Noun("f", "Blume", "Blumen", "flower", "flowers", ("thing",)),
    Noun("f", "Kiste", "Kisten", "box", "boxes", ("thing", "lid", "upright")),
    Noun("n", "Buch", "Bücher", "book", "books", ("thing", "writing")),
    Noun("n", "Bild", "Bilder", "picture", "pictures", ("thing",)),
    Noun("n", "Messer", "Messer", "knife", "knives", ("thing",)),
    Noun("n", "Glas", "Gläser", "glass", "glasses", ("thing", "upright")),
    Noun("n", "Geschenk", "Geschenke", "gift", "gifts", ("thing",)),
    Noun("m", "Apfel", "Äpfel", "apple", "apples", ("food",)),
    Noun("m", "Kuchen", "Kuchen", "cake", "cakes", ("food",)),
    Noun("m", "Käse", "", "cheese", "", ("food",)),
    Noun("f", "Birne", "Birnen", "pear", "pears", ("food",)),
    Noun("f", "Kartoffel", "Kartoffeln", "potato", "potatoes", ("food",)),
    Noun("n", "Ei", "Eier", "egg", "eggs", ("food",)),
    Noun("n", "Brot", "", "bread", "", ("food",)),
    Noun("m", "Tee", "", "tea", "", ("drink",)),
    Noun("f", "Milch", "", "milk", "", ("drink",)),
    Noun("n", "Wasser", "", "water", "", ("drink",)),
    Noun("m", "Bus", "Busse", "bus", "buses", ("vehicle",)),
    Noun("m", "Zug", "Züge", "train", "trains", ("vehicle",)),
    Noun("n", "Auto", "Autos", "car", "cars", ("vehicle",)),
    Noun("n", "Fahrrad", "Fahrräder", "bicycle", "bicycles", ("vehicle",)),
    Noun("n", "Schiff", "Schiffe", "ship", "ships", ("vehicle",)),
    Noun("f", "Tür", "Türen", "door", "doors", ("opening",)),
    Noun("n", "Fenster", "Fenster", "window", "windows", ("opening",)),
    Noun("m", "Tisch", "Tische", "table", "tables", ("furniture",)),
    Noun("m", "Stuhl", "Stühle", "chair", "chairs", ("furniture",)),
    Noun("m", "Schrank", "Schränke", "cupboard", "cupboards", ("furniture",)),
    Noun("m", "Baum", "Bäume", "tree", "trees", ("landmark",)),
    Noun("n", "Bett", "Betten", "bed", "beds", ("furniture",)),
    Noun("n", "Sofa", "Sofas", "sofa", "sofas", ("furniture",)),
    Noun("m", "Garten", "Gärten", "garden", "gardens", ("place", "inside", "entered", "crossed")),
    Noun("m", "Wald", "Wälder", "forest", "forests", ("place", "inside", "entered", "crossed")),
    Noun("m", "Park", "Parks", "park", "parks", ("place", "inside", "crossed", "reached")),
    Noun("f", "Küche", "Küchen", "kitchen", "kitchens", ("place", "inside", "entered", "room")),
    Noun("f", "Stadt", "Städte", "city", "cities", ("place", "inside", "crossed")),
    Noun("f", "Schule", "Schulen", "school", "schools", (*LANDMARK, "inside", "reached")),
    Noun("f", "Kirche", "Kirchen", "church", "churches", (*LANDMARK, "inside", "reached")),
    Noun("n", "Haus", "Häuser", "house", "houses", (*LANDMARK, "inside", "entered", "room")),
    Noun("n", "Zimmer", "Zimmer", "room", "rooms", ("place", "inside", "entered", "room")),
    Noun("n", "Dorf", "Dörfer", "village", "villages", ("place", "inside", "crossed")),
    Noun("n", "Museum", "Museen", "museum", "museums", (*LANDMARK, "inside", "reached")),
    Noun("m", "Bahnhof", "Bahnhöfe", "station", "stations", ("place", "stop", "reached")),
    Noun("m", "Strand", "Strände", "beach", "beaches", ("place", "stop", "reached")),
    Noun("m", "Markt", "Märkte", "market", "markets", ("place", "square", "reached")),
    Noun("f", "Brücke", "Brücken", "bridge", "bridges", ("place", "surface", "reached")),
    Noun("f", "Straße", "Straßen", "street", "streets", ("place", "surface")),
    Noun("f", "Insel", "Inseln", "island", "islands", ("place", "surface")),
)

# By rank: quality before size, size before age, age before colour.
ADJECTIVES = (
    Adjective("teuer", "teurer", "expensive", "more expensive", WARES, 0, stem="teur"),
    Adjective("billig", "billiger", "cheap", "cheaper", WARES, 0),
    Adjective("schön", "schöner", "beautiful", "more beautiful", ("person", "thing", "place"), 0),
    Adjective("müde", "müder", "tired", "more tired", ANIMATE, 0, stem="müd"),
    Adjective("hungrig", "hungriger", "hungry", "hungrier", ANIMATE, 0),
    Adjective("klug", "klüger", "clever", "cleverer", ANIMATE, 0),
    Adjective("stark", "stärker", "strong", "stronger", ANIMATE, 0),
    Adjective("frisch", "frischer", "fresh", "fresher", ("food", "drink"), 0),
    Adjective("kalt", "kälter", "cold", "colder", ("drink",), 0),
    Adjective("warm", "wärmer", "warm", "warmer", ("drink",), 0),
    Adjective("schnell", "schneller", "fast", "faster", ("animal", "vehicle"), 0),
    Adjective("groß", "größer", "big", "bigger", SIZED, 1),
    Adjective("klein", "kleiner", "small", "smaller", SIZED, 1),
    Adjective("dick", "dicker", "fat", "fatter", ANIMATE, 1),
    Adjective("schwer", "schwerer", "heavy", "heavier", OBJECT, 1),
    Adjective("leicht", "leichter", "light", "lighter", ("thing",), 1),
    Adjective("alt", "älter", "old", "older", SIZED, 2),
    Adjective("jung", "jünger", "young", "younger", ANIMATE, 2),
    Adjective("neu", "neuer", "new", "newer", OBJECT, 2),
    Adjective("rot", "röter", "red", "redder", OBJECT, 3),
    Adjective("grün", "grüner", "green", "greener", OBJECT, 3),
    Adjective("weiß", "weißer", "white", "whiter", ("animal", *OBJECT), 3),
    Adjective("schwarz", "schwärzer", "black", "blacker", ("animal", *OBJECT), 3),
)


def _verbs(table: str) -> tuple[Verb, ...]:
    return tuple(_verb(*(cell.strip() for cell in row.split("|"))) for row in table.split("\n"))


def _verb(
    infinitive: str, third: str, perfect: str, english: str, past: str, subjects: str, *rest: str
) -> Verb:
    slots, place = (*rest, "", "")[:2]
    prefix, _, stem = infinitive.rpartition("+")
    auxiliary, participle = perfect.split()
    base, _, particle = english.partition(" ")
    return Verb(
        infinitive=stem,
        third=third,
        participle=participle,
        auxiliary={"hat": "haben", "ist": "sein"}[auxiliary],
        english=base,
        english_past=past,
        subjects=_kinds(subjects.split()),
        complements=_slots(slots),
        prefix=prefix,
        particle=particle,
        place=place,
    )


def _slots(cell: str) -> tuple[Complement, ...]:
    return tuple(_slot(*slot.split()) for slot in cell.split(",") if slot)


def _slot(case: Case, *words: str) -> Complement:
    if "/" not in words[0]:
        return Complement(Role(case), _kinds(words))
    german, english = words[0].replace("_", " ").split("/")
    return Complement(Role(case, german, english), _kinds(words[1:]))


def _kinds(words: Iterable[str]) -> Kinds:
    return tuple(kind for word in words for kind in (ANIMATE if word == "animate" else (word,)))


# The places a verb can ask for, by name: how each is marked and which nouns can be it.
_STOPS = _slots("dat in/in inside, dat an/at stop, dat auf/at square")
PLACES = {
    "stop": _STOPS,
    "spot": _STOPS
    + _slots("dat auf/on surface furniture, dat unter/under furniture")
    + _slots("dat neben/next_to furniture landmark, dat hinter/behind furniture landmark")
    + _slots("dat vor/in_front_of landmark"),
    "goal": _slots("acc in/into entered, dat zu/to reached")
    + _slots("acc durch/through crossed, dat aus/out_of entered"),
    "target": _slots("acc auf/on furniture, acc unter/under furniture")
    + _slots("acc neben/next_to furniture landmark, acc hinter/behind furniture landmark"),
}

# German infinitive (prefix+stem), third person and perfect; English base (with its particle)
# and past; the kinds of subject; the slots, each a case, perhaps a pair of prepositions, and
# the kinds that fill it; a key of PLACES.
VERBS = _verbs(
    """\
schlafen | schläft | hat geschlafen | sleep | slept | animate | | spot
singen | singt | hat gesungen | sing | sang | person | | spot
tanzen | tanzt | hat getanzt | dance | danced | person | | spot
arbeiten | arbeitet | hat gearbeitet | work | worked | person | | spot
lachen | lacht | hat gelacht | laugh | laughed | person
weinen | weint | hat geweint | cry | cried | person
spielen | spielt | hat gespielt | play | played | animate | | spot
sitzen | sitzt | hat gesessen | sit | sat | animate | | spot
stehen | steht | hat gestanden | stand | stood | animate upright | | spot
bleiben | bleibt | ist geblieben | stay | stayed | animate | | spot
auf+wachen | wacht | ist aufgewacht | wake up | woke | animate
ein+schlafen | schläft | ist eingeschlafen | fall asleep | fell | animate | | spot
an+kommen | kommt | ist angekommen | arrive | arrived | person vehicle | | stop
zurück+kommen | kommt | ist zurückgekommen | come back | came | animate vehicle
gehen | geht | ist gegangen | go | went | person | | goal
laufen | läuft | ist gelaufen | run | ran | animate | | goal
fahren | fährt | ist gefahren | drive | drove | person | | goal
sehen | sieht | hat gesehen | see | saw | animate | acc animate thing vehicle landmark | spot
hören | hört | hat gehört | hear | heard | animate | acc animate | spot
suchen | sucht | hat gesucht | look | looked | animate | acc /for animate thing | spot
finden | findet | hat gefunden | find | found | animate | acc animate thing | spot
kennen | kennt | hat gekannt | know | knew | person | acc person
lieben | liebt | hat geliebt | love | loved | person | acc animate
besuchen | besucht | hat besucht | visit | visited | person | acc person
kaufen | kauft | hat gekauft | buy | bought | person | acc thing food drink vehicle | stop
verkaufen | verkauft | hat verkauft | sell | sold | person | acc thing food vehicle animal
tragen | trägt | hat getragen | carry | carried | person | acc thing
malen | malt | hat gemalt | paint | painted | person | acc animate landmark | spot
waschen | wäscht | hat gewaschen | wash | washed | person | acc animal vehicle
reparieren | repariert | hat repariert | repair | repaired | person | acc vehicle furniture opening
schreiben | schreibt | hat geschrieben | write | wrote | person | acc writing
essen | isst | hat gegessen | eat | ate | animate | acc food | stop
trinken | trinkt | hat getrunken | drink | drank | animate | acc drink | stop
füttern | füttert | hat gefüttert | feed | fed | person | acc animal
an+rufen | ruft | hat angerufen | call | called | person | acc person
ein+laden | lädt | hat eingeladen | invite | invited | person | acc person
ab+holen | holt | hat abgeholt | pick up | picked | person | acc person thing
auf+machen | macht | hat aufgemacht | open | opened | person | acc lid opening
zu+machen | macht | hat zugemacht | close | closed | person | acc lid opening
auf+räumen | räumt | hat aufgeräumt | tidy up | tidied | person | acc room
weg+werfen | wirft | hat weggeworfen | throw away | threw | person | acc thing food
mit+nehmen | nimmt | hat mitgenommen | take along | took | person | acc animate thing
an+sehen | sieht | hat angesehen | look | looked | animate | acc /at animate thing
helfen | hilft | hat geholfen | help | helped | person | dat animate | stop
danken | dankt | hat gedankt | thank | thanked | person | dat person
folgen | folgt | ist gefolgt | follow | followed | animate | dat animate vehicle
antworten | antwortet | hat geantwortet | answer | answered | person | dat person
vertrauen | vertraut | hat vertraut | trust | trusted | person | dat person
zu+hören | hört | hat zugehört | listen | listened | person | dat /to person
gehören | gehört | hat gehört | belong | belonged | thing vehicle | dat /to person
geben | gibt | hat gegeben | give | gave | person | dat animate, acc thing food
zeigen | zeigt | hat gezeigt | show | showed | person | dat person, acc animal thing vehicle room
schicken | schickt | hat geschickt | send | sent | person | dat person, acc thing
bringen | bringt | hat gebracht | bring | brought | person | dat person, acc thing food drink
leihen | leiht | hat geliehen | lend | lent | person | dat person, acc thing vehicle
stellen | stellt | hat gestellt | place | placed | person | acc upright | target
warten | wartet | hat gewartet | wait | waited | animate | acc auf/for animate vehicle
denken | denkt | hat gedacht | think | thought | person | acc an/of animate thing
sprechen | spricht | hat gesprochen | speak | spoke | person | dat mit/with person
träumen | träumt | hat geträumt | dream | dreamed | animate | dat von/of animate thing
lachen | lacht | hat gelacht | laugh | laughed | person | acc über/at animate
spielen | spielt | hat gespielt | play | played | animate | dat mit/with animate
auf+passen | passt | hat aufgepasst | watch | watched | person | acc auf/over animate"""
)
(BE,) = _verbs("sein | ist | ist gewesen | be | was | animate")
WEATHER = _verbs(
    """\
regnen | regnet | hat geregnet | rain | rained |
schneien | schneit | hat geschneit | snow | snowed |"""
)
# Verbs that report a clause (dass, that).
REPORTING = _verbs(
    """\
sagen | sagt | hat gesagt | say | said | person
wissen | weiß | hat gewusst | know | knew | person
glauben | glaubt | hat geglaubt | believe | believed | person
denken | denkt | hat gedacht | think | thought | person
hoffen | hofft | hat gehofft | hope | hoped | person
erzählen | erzählt | hat erzählt | tell | told | person | dat person"""
)
# The one that reports an open question (ob, whether) when it is negated.
KNOW = REPORTING[1]
# Verbs that take an infinitive (zu, to).
ATTEMPTING = _verbs(
    """\
versuchen | versucht | hat versucht | try | tried | person
hoffen | hofft | hat gehofft | hope | hoped | person
vergessen | vergisst | hat vergessen | forget | forgot | person
beschließen | beschließt | hat beschlossen | decide | decided | person
an+fangen | fängt | hat angefangen | begin | began | person"""
)

MODALS = (
    Modal(("kann", "kannst", "kann", "können", "können"), "konnte", "can", "could"),
    Modal(("muss", "musst", "muss", "müssen", "müssen"), "musste", "must", "have to"),
    Modal(("will", "willst", "will", "wollen", "wollen"), "wollte", "want to", "want to"),
    Modal(("darf", "darfst", "darf", "dürfen", "dürfen"), "", "may", ""),
    Modal(("soll", "sollst", "soll", "sollen", "sollen"), "", "should", ""),
)
# Its negation means something else in German than in English.
MUST = MODALS[1]

# The accusative of "they" is missing on purpose: German would not tell it from "her".
PRONOUNS = (
    Pronoun("1s", ("ich", "mich", "mir"), ("I", "me")),
    Pronoun("2s", ("du", "dich", "dir"), ("you", "you")),
    Pronoun("3s", ("er", "ihn", "ihm"), ("he", "him")),
    Pronoun("3s", ("sie", "sie", "ihr"), ("she", "her")),
    Pronoun("1p", ("wir", "uns", "uns"), ("we", "us")),
    Pronoun("3p", ("sie", "", "ihnen"), ("they", "them")),
)
IT = Pronoun("3s", ("es", "es", "ihm"), ("it", "it"))

PROFESSIONS = tuple(
    Profession(
        {("m", False): he, ("m", True): they, ("f", False): she, ("f", True): f"{she}nen"},
        english,
        f"{english}s",
    )
    for he, they, she, english in (
        ("Arzt", "Ärzte", "Ärztin", "doctor"),
        ("Lehrer", "Lehrer", "Lehrerin", "teacher"),
        ("Koch", "Köche", "Köchin", "cook"),
        ("Bäcker", "Bäcker", "Bäckerin", "baker"),
        ("Maler", "Maler", "Malerin", "painter"),
        ("Pilot", "Piloten", "Pilotin", "pilot"),
    )
)

# Adverbs of frequency, and time expressions by the tense they go with.
OFTEN = (Word("oft", "often"), Word("immer", "always"), Word("selten", "rarely"))
NEVER = Word("nie", "never")
TIMES = {
    "present": (
        Word("heute", "today"),
        Word("jetzt", "now"),
        Word("jeden Tag", "every day"),
        Word("im Sommer", "in summer"),
        Word("am Abend", "in the evening"),
    ),
    "past": (
        Word("gestern", "yesterday"),
        Word("am Montag", "on Monday"),
        Word("letzte Woche", "last week"),
        Word("vor drei Tagen", "three days ago"),
    ),
    "future": (
        Word("morgen", "tomorrow"),
        Word("bald", "soon"),
        Word("nächste Woche", "next week"),
    ),
}

THAT = Word("dass", "that")
WHETHER = Word("ob", "whether")
IF = Word("wenn", "if")
BEFORE = Word("bevor", "before")
CIRCUMSTANCES = (
    Word("weil", "because"),
    Word("obwohl", "although"),
    Word("während", "while"),
    BEFORE,
)
AND = Word("und", "and")
BUT = Word("aber", "but")
QUESTION_WORDS = (Word("warum", "why"), Word("wann", "when"), Word("wie oft", "how often"))
