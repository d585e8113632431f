"""Sentences of several scripts, and outputs of fairseq-generate made of them."""

from __future__ import annotations

from collections.abc import Sequence

TEXTS = {
    "de": ["Der Hund läuft nach Hause.", "Eine Frau sagt: „Ja“!", "Zwei Männer, die lachen."],
    "en": ["The dog runs home.", "A woman says: “Yes”!", "Two men who don't laugh."],
    "uk": ["П'ятеро з'їли м'ясо.", "Ім'я п'яниці - В'ячеслав.", "Сім'я любить м'яч?"],
    "ar": ["أين البيت، يا صديقي؟", "هنا؛ قريب من المدرسة.", "الولد يقرأ، والبنت تكتب."],
    "th": ["น้ำนี้เย็นที่สุด", "เธอรักบ้านหลังนี้", "เขาเห็นข่าวที่โรงเรียน"],
    "hi": ["लड़की घर में है।", "क्या वह तेज़ दौड़ता है?", "हम भाषा सीखते हैं।"],
    "zh": ["你好，世界！", "他说：（是）。", "我们今天学习中文。"],
    "ja": ["「はい」、行きます。", "今日は天気がいいです。", "犬が家に走ります。"],
}
ENOUGH = 8
"""How often a text comes: references of a few lines have few n-grams."""


def generated(targets: Sequence[str], hypotheses: Sequence[str] | None = None) -> str:
    """What fairseq-generate prints, the longest sentences first."""
    hypotheses = targets if hypotheses is None else hypotheses
    order = sorted(range(len(targets)), key=lambda i: -len(targets[i]))
    return "".join(
        f"S-{i}\tx\nT-{i}\t{targets[i]}\nH-{i}\t-0.1\t{hypotheses[i]}\n"
        f"D-{i}\t-0.1\t{hypotheses[i]}\nP-{i}\t-0.1 -0.2\n"
        for i in order
    )
