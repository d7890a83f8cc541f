"""A classifier's outputs as probabilities of the three labels."""

from itertools import chain

import torch

from ...models.label_classes import LabelClasses


class LabelColumns:
    """Turns logits of any number of outputs into the labels' probabilities.

    Outputs that are left out take no part in the softmax; of several that are one label, the
    probabilities are added up.
    """

    def __init__(self, classes: LabelClasses) -> None:
        self._kept = list(chain.from_iterable(classes))
        self._single = all(len(outputs) == 1 for outputs in classes)
        owner = [label for label, outputs in enumerate(classes) for _ in outputs]
        self._sums = torch.eye(len(classes))[owner]  # (kept, 3)

    def __call__(self, logits: torch.Tensor) -> torch.Tensor:
        """Return probabilities (n, 3) of logits (n, outputs), fp32."""
        if self._kept != list(range(logits.shape[1])):  # indices wait for a GPU
            logits = logits[:, self._kept]
        probabilities = logits.softmax(-1)
        if self._single:
            return probabilities
        return probabilities @ self._sums.to(probabilities.device)
