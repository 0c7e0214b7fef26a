"""Several processes, one fine-tuning: `torchrun -m eval finetune …`, or `accelerate launch -m eval finetune …`.

The Trainer divides the rows; the process of rank 0 speaks, writes the adapters, and evaluates alone.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from clas_models.conversion.ranks import is_launched


@dataclass(frozen=True)
class Ranks:
    """This process among those of a launch; `state` is accelerate's, None where it is alone."""

    state: Any = None

    @classmethod
    def of_launch(cls, device: str) -> Ranks:
        """Connects the processes, where there are several; `device` is as the user named it."""
        if not is_launched(os.environ):
            return cls()
        import torch
        from accelerate import PartialState

        return cls(PartialState(cpu=device == "cpu" or not torch.cuda.is_available()))

    @property
    def leads(self) -> bool:
        return self.state is None or bool(self.state.is_main_process)

    def wait(self) -> None:
        """Until every process is here."""
        if self.state is not None:
            self.state.wait_for_everyone()
