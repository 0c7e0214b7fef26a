"""Documents of a language -> texts of as many tokens as a model reads at once.

Documents follow each other with an empty line between them and are cut where the tokens end, so that every text but a
language's last one is as long as the others: languages with long articles and with short ones then have as many tokens
in as many texts.
"""

from collections.abc import Iterable, Iterator

from transformers import PreTrainedTokenizerBase

from clas_models.errors import InputError

_BETWEEN = "\n\n"


def sequences(documents: Iterable[str], tokenizer: PreTrainedTokenizerBase, max_length: int) -> Iterator[str]:
    """Texts of `max_length` tokens, with what the tokenizer adds to each; the last one may have fewer.

    Nothing of the documents is lost or told twice.  A text ends between two characters: one that the tokenizer splits
    into bytes goes into the next text as a whole.  By itself a text may have a token more than in its place.

    Raises InputError: a tokenizer that does not tell where its tokens stand, or no room for any.
    """
    room = max_length - tokenizer.num_special_tokens_to_add()
    if room < 1:
        raise InputError(f"maximum length {max_length}: no room beside the special tokens; give more")
    if not tokenizer.is_fast:
        raise InputError(f"tokenizer {tokenizer.name_or_path}: a slow one, which tells no offsets; give a fast one")
    left = ""
    for document in documents:
        text = f"{left}{_BETWEEN}{document}" if left else document
        cuts = _cuts(text, tokenizer, room)
        yield from (text[start:end] for start, end in zip([0, *cuts], cuts, strict=False) if text[start:end].strip())
        left = text[cuts[-1] if cuts else 0 :]
    if left.strip():
        yield left


def _cuts(text: str, tokenizer: PreTrainedTokenizerBase, room: int) -> list[int]:
    """Where texts of `room` tokens end, in characters; without the end of the last, which may go on."""
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    starts = [start for start, _ in encoded["offset_mapping"]]
    cuts, begin = [], 0
    while begin + room < len(starts):
        end = begin + room
        # Tokens of one character have the same place.
        while end > begin + 1 and starts[end] == starts[end - 1]:
            end -= 1
        cuts.append(starts[end])
        begin = end
    return cuts
