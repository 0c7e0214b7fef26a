"""Text to batches of token ids: rows of a language in windows, sorted by length within each.

Memory depends on the window, not on the number of samples.  What the batches are for is left to `recording`.
"""

import hashlib
from array import array
from collections.abc import Iterator
from itertools import islice

from transformers import PreTrainedTokenizerBase

from ..errors import InputError
from .corpora import ParallelCorpus
from .recorder import Batch

WINDOW_BATCHES = 32  # batches that are sorted by length together


class BatchReader:
    """Batches for one language after the other, and what a provenance says of them.

    Attributes:
        digest: SHA-256 of the token ids of the languages that were read.
        samples: rows of the language that was read last.
    """

    def __init__(
        self, corpus: ParallelCorpus, tokenizer: PreTrainedTokenizerBase, max_length: int, batch_size: int
    ) -> None:
        if max_length < 1 or batch_size < 1:
            raise InputError(f"maximum length {max_length} and batch size {batch_size}: both must be at least 1")
        self.corpus, self.tokenizer = corpus, tokenizer
        self.max_length, self.batch_size = max_length, batch_size
        self.special = set(tokenizer.all_special_ids)
        self.digest = hashlib.sha256()
        self.samples = 0

    def batches(self, language: str) -> Iterator[Batch]:
        """Rows sorted by length within a window, the longest first: lack of memory shows at once.

        Raises InputError: there was no usable token in the language.
        """
        usable, self.samples = False, 0
        rows = enumerate(self._encoded(language))
        while window := list(islice(rows, self.batch_size * WINDOW_BATCHES)):
            self.samples += len(window)
            usable = usable or any(not self.special.issuperset(ids) for _, ids in window)
            window = sorted((row for row in window if row[1]), key=lambda row: len(row[1]), reverse=True)
            for start in range(0, len(window), self.batch_size):
                samples, ids = zip(*window[start : start + self.batch_size], strict=True)
                yield Batch(language, samples, ids)
        if not usable:
            raise InputError(
                f"language {language!r}: no usable token in corpus {self.corpus.name!r} for this tokenizer"
            )
        self.digest.update(f"/{language}".encode())

    def _encoded(self, language: str) -> Iterator[list[int]]:
        for row in self.corpus.rows:
            ids = self.tokenizer(row[language], truncation=True, max_length=self.max_length)["input_ids"]
            self.digest.update(array("q", ids).tobytes() + b"|")
            yield ids
