"""One configuration of a Hub dataset as rows, and whether the Hub can be reached at all.

Rows are streamed, because preparing a dataset the usual way would download every split of every language where one is
needed.  With HF_HUB_OFFLINE set, a dataset that `datasets` has in its cache is read from there.  Which configurations
and columns make a parallel corpus is decided elsewhere.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from ...errors import InputError

_SPLITS = ("validation", "val", "test", "train")
_TIMEOUT = 5.0


def check_reachable(repo: str, remedy: str) -> None:
    """Find out within seconds whether the Hub has a dataset; `datasets` alone would try again for half a minute.

    Raises InputError: it has not, or it cannot be reached; `remedy` says what to do instead.
    """
    import datasets
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError

    if datasets.config.HF_HUB_OFFLINE:
        return
    try:
        HfApi(endpoint=datasets.config.HF_ENDPOINT).dataset_info(repo, timeout=_TIMEOUT)
    except (HFValidationError, RepositoryNotFoundError):
        raise InputError(
            f"the Hugging Face Hub has no dataset {repo!r} that you may read: check the name, or {remedy}"
        ) from None
    # The HTTP library below, and with it the exceptions, changes from one huggingface_hub to the next.
    except Exception as error:
        raise InputError(
            f"the Hugging Face Hub cannot be reached for {repo} ({_first_line(error)}): {remedy}, "
            f"or set HF_HUB_OFFLINE=1 if the dataset is in the cache"
        ) from error


def config_names(repo: str, remedy: str) -> list[str]:
    """The names of a dataset's configurations, from the Hub, the cache or a folder.

    Raises InputError: a dataset that cannot be opened, or that is not in the cache while offline.
    """
    import datasets
    from datasets.naming import camelcase_to_snakecase

    if datasets.config.HF_HUB_OFFLINE and not Path(repo).is_dir():
        # Offline, `datasets` opens a configuration by name, but does not list those that it has.
        owner, _, name = repo.partition("/")
        folder = Path(datasets.config.HF_DATASETS_CACHE) / f"{owner}___{camelcase_to_snakecase(name)}"
        names = sorted(path.name for path in folder.glob("*") if path.is_dir())
        if not names:
            raise InputError(f"dataset {repo} is not in the cache and HF_HUB_OFFLINE is set: unset it, or {remedy}")
        return names
    try:
        return list(datasets.get_dataset_config_names(repo))
    except Exception as error:
        raise InputError(f"dataset {repo} cannot be opened ({_first_line(error)}): {remedy}") from error


@dataclass(frozen=True)
class HubTable:
    """One split of one configuration of a dataset; iterating yields its rows, again and again."""

    repo: str
    config: str
    remedy: str
    dataset: Any

    @classmethod
    def open(cls, repo: str, config: str, remedy: str, order: Sequence[str] = _SPLITS) -> Self:
        """The first split of `order` that there is: validation, else test, else training, unless told otherwise.

        Raises InputError: there is none, or the configuration cannot be opened.
        """
        import datasets

        place = f"dataset {repo}, configuration {config}"
        try:
            splits = datasets.load_dataset(repo, config, streaming=True)
        except Exception as error:
            raise InputError(f"{place}: cannot be opened ({_first_line(error)}); {remedy}") from error
        for split in order:
            if split in splits:
                return cls(repo, config, remedy, splits[split])
        raise InputError(f"{place}: no split {', '.join(order)} among {', '.join(splits)}; {remedy}")

    def columns(self) -> tuple[str, ...]:
        """The names of the columns; none if there is no row to tell them."""
        # Formats without a schema tell their columns only with the first row.
        return tuple(self.dataset.column_names or next(iter(self), {}))

    def __iter__(self) -> Iterator[dict[str, Any]]:
        try:
            yield from self.dataset
        except Exception as error:
            place = f"dataset {self.repo}, configuration {self.config}"
            raise InputError(f"{place}: cannot be read ({_first_line(error)}); {self.remedy}") from error


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
