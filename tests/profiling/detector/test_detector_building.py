"""Detectors made from the built-in corpus, asked about text that they were not made from."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
import torch
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from trained_tokenizers import EMOJI, builtin_rows, sentencepiece_tokenizer
from transformers import PreTrainedTokenizerFast

from clas_models.errors import InputError
from clas_models.modeling.language_detector import INVISIBLE, UNITS_PER_NAT, LanguageDetector
from clas_models.profiling.detector.detector_building import build_detector
from clas_models.profiling.detector.token_text import read_tokens

from .conftest import OTHER, Made

NEW_ROWS = builtin_rows()[::5]
# No row of the corpus is in these languages.
UNKNOWN = {
    "ja": "昨日、友達と一緒に東京へ行きました。雨が降っていたので、美術館でゆっくり過ごしました。",
    "ko": "어제 친구와 함께 서울에 갔습니다. 비가 와서 미술관에서 오래 머물렀습니다.",
    "pl": "Wczoraj pojechaliśmy z przyjaciółmi do Krakowa. Padał deszcz, więc spędziliśmy cały dzień w muzeum.",
    "nl": "Gisteren gingen we met vrienden naar Amsterdam. Het regende, dus waren we de hele dag in het museum.",
    "ta": "நேற்று நாங்கள் நண்பர்களுடன் சென்னைக்குச் சென்றோம். மழை பெய்ததால் நாள் முழுவதும் அருங்காட்சியகத்தில் இருந்தோம்.",
    "he": "אתמול נסענו עם חברים לירושלים. ירד גשם, ולכן בילינו את כל היום במוזיאון.",
    "fi": "Eilen kävimme ystävien kanssa Helsingissä. Satoi vettä, joten vietimme koko päivän museossa.",
}
THIN = {
    "nothing": "",
    "blanks": "  \n\n ",
    "numbers": "12345 67.89 (2024-01-05) 3 + 4 = 7",
    "signs": "?!... --- *** ### ;;; (){}[]",
    "emoji": f"{EMOJI} {EMOJI.replace(' ', '')}",
    "Python": "def total(rows):\n    return sum(row.price * row.amount for row in rows if row.price > 0)",
    "SQL": "SELECT name, COUNT(*) FROM users WHERE age > 30 GROUP BY name ORDER BY 2 DESC;",
    "address": "https://www.example.com/a/b?id=12&lang=xx",
    "long address": "https://github.com/huggingface/transformers/blob/main/src/models/llama.py#L120-L130",
    "one word": "Haus",
}
ENGLISH_WITH_NAMES = [
    "Jürgen Müller met Giovanni in München last week.",
    "Dr. Nguyễn Văn An and François Lefèvre wrote the paper together.",
    "She visited São Paulo, Köln and Kraków before she came home.",
]
CONTENTS = {
    "de": "Der Zug nach Hamburg fährt heute leider erst eine Stunde später ab.",
    "hi": "गाँव का बाज़ार सुबह बहुत जल्दी खुल जाता है।",
    "zh": "我们昨天在市场上买了很多新鲜的蔬菜。",
    "en": "The train to the coast leaves an hour later today.",
}
INSTRUCTION = (
    "Read the sentence below and decide whether the claim is true, false or unclear.\n"
    "Sentence: {}\nAnswer with one word only."
)
CHAT = (
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
    "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
)


def wrongly_taken(made: Made) -> list[tuple[int, str]]:
    """The texts, by row and language, of which the detector says another language."""
    anchor = made.languages[made.detector.anchor_id]
    return [
        (number, code)
        for number, row in enumerate(NEW_ROWS)
        for code in (anchor, *made.detector.detector_languages)
        if made.language(row[code]) != (code if code in made.languages else OTHER)
    ]


def rows_of(*codes: str, count: int = 20) -> list[dict[str, str]]:
    return [{code: row[code] for code in codes} for row in builtin_rows()[:count]]


def tokenizer_without_bytes(texts: list[str]) -> PreTrainedTokenizerFast:
    """Whole words and signs of Chinese: what the texts do not have is `<unk>`."""
    split = [pre_tokenizers.Metaspace(), pre_tokenizers.Split(Regex(r"\p{Han}|\p{P}"), "isolated")]
    splitter = pre_tokenizers.Sequence(split)
    pieces = sorted({piece for text in texts for piece, _ in splitter.pre_tokenize_str(text)})
    vocab = {piece: index for index, piece in enumerate(["<unk>", *pieces])}
    tokenizer = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    tokenizer.pre_tokenizer = splitter
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>")


def test_new_sentences_in_all_languages_are_recognised(full: Made) -> None:
    assert wrongly_taken(full) == []


def test_known_languages_that_are_not_profiled_are_others(small: Made) -> None:
    assert wrongly_taken(small) == []
    assert int(small.decide(NEW_ROWS[0]["hi"]).language_ids) == 3


def test_another_anchor(german: Made) -> None:
    """English is a language like any other then."""
    assert wrongly_taken(german) == []
    assert german.detector.anchor_id == 1
    assert "de" not in german.detector.detector_languages


@pytest.mark.parametrize("code", UNKNOWN)
def test_languages_that_the_corpus_does_not_have_are_not_the_anchor(full: Made, code: str) -> None:
    assert full.language(UNKNOWN[code]) != "en"


@pytest.mark.parametrize("what", THIN)
def test_thin_evidence_is_the_anchor(full: Made, small: Made, what: str) -> None:
    assert full.language(THIN[what]) == "en"
    assert small.language(THIN[what]) == "en"


@pytest.mark.parametrize("text", ENGLISH_WITH_NAMES)
def test_english_with_foreign_names_is_english(full: Made, text: str) -> None:
    assert full.language(text) == "en"


@pytest.mark.parametrize("code", CONTENTS)
def test_the_content_decides_and_not_the_instruction_around_it(full: Made, code: str) -> None:
    instruction = INSTRUCTION.format(CONTENTS[code])
    assert [full.language(text) for text in (CONTENTS[code], instruction, CHAT.format(instruction))] == [code] * 3


def test_evidence_is_what_the_content_alone_has(full: Made) -> None:
    bare, wrapped = full.decide(CONTENTS["hi"]), full.decide(CHAT.format(INSTRUCTION.format(CONTENTS["hi"])))
    assert wrapped.evidence.max() >= bare.evidence.max() - 1
    assert wrapped.threshold > bare.threshold


@pytest.mark.parametrize("sign", ["/", "=", "&", ".", "_"])
def test_words_that_hang_on_signs_are_no_text(full: Made, sign: str) -> None:
    words = "nicht ohne aber werden noch schon"
    assert full.language(words) == "de"
    assert full.language(words.replace(" ", sign)) == "en"


def test_letters_speak_against_languages_that_do_not_have_them() -> None:
    """Three rows show few letters; that others belong to an alphabet, or to none, is known all the same."""
    tokenizer = sentencepiece_tokenizer()
    made = Made.of(tokenizer, ("en", "es", "ro", "tr"), "en", rows_of("en", "es", "ro", "tr", count=3))
    seen = {char for row in rows_of("en", "es", "ro", "tr", count=3) for text in row.values() for char in text}
    classes = ("es", "ro", "tr", "unknown")
    for letter, language in {"Ñ": "es", "Ă": "ro", "Ğ": "tr", "Ł": "unknown", "ø": "unknown", "ő": "unknown"}.items():
        assert letter not in seen
        evidence = made.detector.evidence[tokenizer.get_vocab()[letter], : len(classes)] / UNITS_PER_NAT
        best, second = evidence.topk(2).values.tolist()
        assert classes[int(evidence.argmax())] == language
        assert best - second > 1


def test_tokens_that_no_sample_contained_speak_by_their_own_text(trained: Any) -> None:
    made = Made.of(trained, ("en", "de", "ru"), "en", rows_of("en", "de", "ru"))

    def tokens(code: str, texts: Iterable[dict[str, str]]) -> set[int]:
        return {token for row in texts for token in trained(row[code])["input_ids"]}

    seen = set().union(*(tokens(code, builtin_rows()[:20]) for code in made.languages))
    later = {code: tokens(code, builtin_rows()[20:]) - seen for code in made.languages}
    new = {code: sorted(later[code] - set().union(*(later[c] for c in later if c != code))) for code in later}
    assert min(map(len, new.values())) > 20
    means = {code: made.detector.evidence[new[code]].float().mean(0) for code in new}  # columns de, ru, ...
    assert means["de"][0] > 0 > means["en"][0]
    assert means["ru"][1] > UNITS_PER_NAT
    assert made.language("Könnten Sie bitte etwas lauter sprechen, damit alle zuhören?") == "de"


def test_tables_are_as_large_as_the_embedding_and_silent_where_there_is_no_text(small: Made) -> None:
    tokenizer, rows = small.tokenizer, rows_of("en", "de", "zh")
    padded = build_detector(tokenizer, rows, ["en", "de"], "en", len(tokenizer) + 64)
    exact = build_detector(tokenizer, rows, ["en", "de"], "en")
    assert padded.evidence.shape == (len(tokenizer) + 64, len(rows[0]) - 1 + 2)
    assert torch.equal(padded.evidence[: len(tokenizer)], exact.evidence)
    silent = [*tokenizer.all_special_ids, *range(len(tokenizer), len(tokenizer) + 64)]
    assert not padded.evidence[silent].any()
    assert (padded.kinds[silent] & INVISIBLE).all()
    assert (padded.kinds & INVISIBLE > 0).sum() == len(silent)


def test_digits_signs_and_code_say_nothing(full: Made) -> None:
    quiet = [
        number for number, token in enumerate(read_tokens(full.tokenizer, len(full.tokenizer))) if not token.speaks
    ]
    assert len(quiet) > 50
    assert not full.detector.evidence[quiet].any()


def test_a_detector_is_the_same_each_time_and_in_whatever_order_the_languages_are(trained: Any) -> None:
    first, again = (
        Made.of(trained, languages, "en", rows_of("de", "en", "zh")) for languages in (("de", "en", "zh"), ("zh", "en"))
    )
    assert torch.equal(again.detector.evidence, first.detector.evidence)
    assert torch.equal(again.detector.kinds, first.detector.kinds)
    assert [first.language(CONTENTS[code]) for code in ("de", "zh")] == ["de", "zh"]
    assert [again.language(CONTENTS[code]) for code in ("de", "zh")] == [OTHER, "zh"]


def test_rows_can_be_an_iterator_and_need_no_others_than_the_profiled_languages(trained: Any) -> None:
    made = Made(build_detector(trained, iter(rows_of("de", "en", count=40)), ["en", "de"], "en"), trained, ("en", "de"))
    assert made.detector.detector_languages == ("de",)
    assert [made.language(CONTENTS[code]) for code in ("de", "en", "hi")] == ["de", "en", OTHER]


@pytest.mark.parametrize("known", [("en", "de", "zh"), ("en", "de"), ("zh",)])
def test_a_tokenizer_without_bytes_may_have_no_token_for_a_language(known: tuple[str, ...]) -> None:
    rows = rows_of("en", "de", "zh")
    tokenizer = tokenizer_without_bytes([row[code] for row in rows for code in known])
    made = Made.of(tokenizer, ("en", "de", "zh"), "en", rows)
    for code in ("en", "de", "zh"):
        assert made.language(rows[0][code]) == (code if code in known else "en")


@pytest.mark.parametrize("codes", [("en", "zh"), ("en", "de")])
def test_a_tokenizer_without_bytes_for_two_languages(codes: tuple[str, str]) -> None:
    """Two scripts: then there is no token whose language must be guessed."""
    tokenizer = tokenizer_without_bytes([text for row in rows_of(*codes) for text in row.values()])
    made = Made.of(tokenizer, codes, "en", rows_of(*codes))
    assert [made.language(text) for text in rows_of(*codes)[0].values()] == list(codes)


@pytest.mark.parametrize(
    ("rows", "languages", "anchor", "fault"),
    [
        ([], ["en", "de"], "en", "detector: the corpus has no rows"),
        (
            rows_of("en", "de"),
            ["en", "de"],
            "fr",
            "detector: the anchor language 'fr' is not among the languages en, de",
        ),
        (rows_of("en", "de"), ["en", "xx", "de", "yy"], "en", "detector: its corpus lacks xx, yy; it has en, de"),
        ([{"en": "The cat sleeps."}], ["en"], "en", "detector: its corpus has no language beside en"),
    ],
)
def test_what_no_detector_can_be_made_of(
    trained: Any, rows: list[dict[str, str]], languages: list[str], anchor: str, fault: str
) -> None:
    with pytest.raises(InputError) as error:
        build_detector(trained, rows, languages, anchor)
    assert str(error.value) == fault


def test_the_detector_is_the_module_that_a_checkpoint_carries(small: Made) -> None:
    detector = LanguageDetector(len(small.tokenizer), small.detector.detector_languages, small.languages, "en")
    detector.load_state_dict(small.detector.state_dict())
    assert Made(detector, small.tokenizer, small.languages).language(CONTENTS["zh"]) == "zh"
