"""From sentences to words and back."""

from __future__ import annotations

import pytest

from dsp_text.cleaner import Cleaner

ROUND_TRIPS = [
    ("de", 'Er sagt: "Ja!", und geht (müde) nach Hause.'),
    ("en", "She didn't see 1,000 cars, did she?"),
    ("fr", "L'homme d'ici n'aime pas l'eau."),
    ("uk", "П'ять сімей з'їли м'ясо, а п'яниця - об'їдки."),
    ("be", "Сям'я аб'явіла пра з'езд."),
    ("ru", "Стоя́л за́мок."),
    ("he", "צה\"ל אמר: ז'קט וצ'יפס."),
    ("ar", "أين البيت، يا صديقي؟ هنا؛ قريب."),
    ("fa", "می‌خواهم بروم، تو چطور؟"),
    ("ur", "کیا حال ہے؟ سب ٹھیک ہے۔"),
    ("hi", "लड़की घर में है। क्या वह तेज़ है?"),
    ("bn", "ক্ষমা করো, আমি যাই।"),
    ("ta", "நான் தமிழ் படிக்கிறேன்."),
    ("th", "น้ำนี้เย็นที่สุด"),
    ("my", "မြန်မာစာ"),
    ("km", "ខ្ញុំទៅផ្ទះ។"),
    ("am", "ሰላም ነው። ደህና፣ አንተስ፧"),
    ("hy", "Ինչպե՞ս ես։"),
    ("bo", "བཀྲ་ཤིས་བདེ་ལེགས།"),
    ("zh", "你好，世界！他说：（是）。"),
    ("ja", "「はい」、行きます。"),
    ("ko", "안녕하세요, 친구."),
    ("el", "Τι κάνεις; Καλά."),
]


@pytest.mark.parametrize(("language", "text"), ROUND_TRIPS)
def test_words_are_restored_to_plain_text(language, text):
    cleaner = Cleaner(language, tokenize=True, lowercase=False)
    assert cleaner.restore(cleaner(text)) == text


@pytest.mark.parametrize(
    ("language", "text"),
    [
        *ROUND_TRIPS,
        ("th", "น้ำเย็น เขาดื่ม"),
        ("en", "cafe\u0301 ole\u0301"),
        ("uk", "«Так» — сказав ’я’."),
    ],
)
def test_restored_text_has_the_same_words(language, text):
    cleaner = Cleaner(language, tokenize=True, lowercase=False)
    assert cleaner(cleaner.restore(cleaner(text))) == cleaner(text)


def test_quotation_marks_are_no_apostrophes():
    cleaner = Cleaner("uk", tokenize=True, lowercase=False)
    assert cleaner.restore("він каже ' так '") == "він каже 'так'"


def test_what_was_not_tokenised_is_left_alone():
    assert Cleaner("en", tokenize=False, lowercase=True).restore("a , b ؟") == "a , b ؟"


def test_cleaning_order_and_punctuation():
    cleaner = Cleaner("en", tokenize=True, lowercase=True)
    assert cleaner("He said: “Mr. Smith isn’t <here> & well-fed”.") == (
        'he said : " mr. smith isn \'t < here > & well-fed . "'
    )
    untouched = Cleaner("en", tokenize=False, lowercase=False)
    assert untouched("It’s  fine, isn’t it?") == "It's fine, isn't it?"


@pytest.mark.parametrize("code", ["fr_FR", "FR", "fr_CA"])
def test_a_region_changes_nothing(code):
    text = "L'homme d'ici n'oublie pas M. Dupont."
    one, other = (Cleaner(name, tokenize=True, lowercase=False) for name in ("fr", code))
    assert one(text) == other(text)
    assert other.restore(other(text)) == text


@pytest.mark.parametrize("text", ["", "\u200b", "\x01\x02", "\ufffd \u2581", "\u3164"])
@pytest.mark.parametrize("tokenize", [True, False])
def test_nothing_to_see_gives_no_words(text, tokenize):
    assert Cleaner("en", tokenize=tokenize, lowercase=False)(text) == ""
