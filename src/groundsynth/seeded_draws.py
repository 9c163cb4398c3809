"""Words drawn by chance, each caption by a generator of its own, whatever else is in its batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import LogitsProcessor


class SeededDraws(LogitsProcessor):
    """Sampling with one generator per row: the largest of logit / temperature + Gumbel noise.

    That maximum is distributed as a draw from the softmax (Gumbel 1954; Maddison et al. 2014), and a row's noise
    depends on its own seed and step alone.
    """

    def __init__(self, seeds: Sequence[int], temperature: float) -> None:
        self.seeds, self.temperature = seeds, temperature
        self.generators: list[torch.Generator] = []

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Return (n, vocabulary) scores whose largest value is the draw."""
        if not self.generators:
            self.generators = [torch.Generator(scores.device).manual_seed(seed) for seed in self.seeds]
        scores = scores.float() / self.temperature
        for row, generator in zip(scores, self.generators, strict=True):
            row -= torch.empty_like(row).exponential_(generator=generator).log()
        return scores
