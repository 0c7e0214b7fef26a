"""Which languages a corpus names, and which of them a user means.

How a language is written, and what it means, is said in `modeling/language.py`: here names of columns, files and
configurations become canonical tags, and what a user asks for is found among them.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache

from ...errors import InputError
from ...modeling.language_tags import did_you_mean, matching, own_code


@lru_cache(maxsize=10_000)  # a corpus has the same keys in every line
def corpus_language(name: str) -> str | None:
    """The canonical tag of a corpus' own name for a language; None if it names none."""
    return own_code(name)


def normalise_codes(codes: Sequence[str], place: str = "languages") -> tuple[str, ...]:
    """The canonical tags in the given order.

    Raises InputError: no code, something that is not a code, or the same language twice; `place` says where.
    """
    # A string is a sequence of strings too, and "de" would silently become the languages "d" and "e".
    if isinstance(codes, str):
        raise InputError(f"{place}: {codes!r} is one text, give a list of codes")
    if not codes:
        raise InputError(f"{place}: the list is empty, give at least one code such as en")
    for code in codes:
        if corpus_language(code) is None:
            raise InputError(
                f"{place}: {code!r} is not a language code{did_you_mean(code)}; write it like de or pt-BR, or as an "
                "English name"
            )
    return tuple(by_language(codes, place))


def by_language(names: Iterable[str], place: str, wanted: Sequence[str] | None = None) -> dict[str, str]:
    """What a corpus calls its languages, by canonical tag; names that are no languages are left out.

    Raises InputError: two of them, and of the `wanted` languages, are the same language; names both.
    """
    found: dict[str, str] = {}
    for name in names:
        tag = corpus_language(name)
        if tag is None or (wanted is not None and tag not in wanted):
            continue
        if tag in found:
            both = repr(name) if name == found[tag] else f"{found[tag]!r} and {name!r}, both {tag},"
            raise InputError(f"{place}: {both} given more than once, name every language once")
        found[tag] = name
    return found


def pick_languages(wanted: Sequence[str] | None, available: Iterable[str], corpus: str) -> tuple[str, ...]:
    """The wanted languages in their order, as the corpus has them, or every available one if none was asked for.

    Args:
        wanted: canonical tags; one that the corpus does not have stands for a broader one: `zh-CN` for `zh`.

    Raises InputError: languages that the corpus does not have; the message lists those that it has.
    """
    available = tuple(available)
    if wanted is None:
        return available
    found = {tag: matching(tag, available) for tag in wanted}
    if missing := [tag + did_you_mean(tag) for tag, code in found.items() if code is None]:
        raise InputError(f"corpus {corpus} has no {', '.join(missing)}: choose among {', '.join(available)}")
    picked = [code for code in found.values() if code is not None]
    for code in picked:
        if picked.count(code) > 1:
            same = " and ".join(tag for tag in wanted if found[tag] == code)
            raise InputError(f"corpus {corpus}: {same} are the same text, {code}; name every language once")
    return tuple(picked)
