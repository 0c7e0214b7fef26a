"""What is known of the neurons of a model: what selections and values are made from."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from .neuron_profile import NeuronProfile
from .neuron_quantiles import NeuronQuantiles


@dataclass(frozen=True, eq=False)
class Known:
    """A profile and its quantiles; without quantiles some selections and values cannot be made."""

    profile: NeuronProfile
    quantiles: NeuronQuantiles | None = None

    def select(self, languages: Sequence[str]) -> Self:
        """The same of these languages. Raises InputError: one of them is not known."""
        profile = self.profile.select(languages)
        return type(self)(profile, None if self.quantiles is None else self.quantiles.select(languages))
