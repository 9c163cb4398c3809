"""Training of an image-only captioner: chips under all eight flips and turns, captions written anew for each.

A caption is not turned with its chip: it names north and west. So the turned *map* is described again, and
the caption the network learns from is as true of the turned chip as the first was of the chip. Each chip of a
batch is seen once and described several times in different words, for words are cheap and images are not.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from groundsynth.data.turns import turn
from groundsynth.errors import GroundsynthError
from groundsynth.models.captioner import (
    Captioner,
    CaptionerShape,
    build_captioner,
    encode_captions,
    train_tokenizer,
)
from groundsynth.models.checkpoint import resume_checkpoint, save_checkpoint
from groundsynth.models.segmenter import Pool, Segmenter, pool_sizes, rate_factor, to_tensor
from groundsynth.seeds import derive_seed, rng

Describe = Callable[[np.ndarray, int], str]  # a map (h, w) and a seed to a caption
BRIGHTNESS, COLOUR = 0.1, 0.03  # largest relative change of all channels, and of each
WORDS_FROM = 4000  # captions the tokenizer is made from
SPARE = 1.25  # a caption may be this much longer than the longest of those, in tokens


@dataclass(frozen=True)
class CaptionerTraining:
    """What a training needs besides chips.

    Attributes:
        shape: of the network. steps, batch_size (chips), learning_rate (peak of AdamW): as usual.
        wordings: captions of each chip in a batch. validate_every: steps between validations.
        tuned: whether weights taken from a labeller go on learning; those from chance always learn.
    """

    steps: int
    batch_size: int
    learning_rate: float
    validate_every: int
    wordings: int = 4
    tuned: bool = False
    shape: CaptionerShape = field(default_factory=CaptionerShape)


def all_turns(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Return chips or maps (n, h, h, …) in all eight turns, (8 n, h, h, …), turn by turn."""
    return np.stack([turn(array, number) for number in range(8) for array in arrays])


def recolour(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return an image (h, w, 3) uint8 a little brighter or darker, and a little shifted in colour."""
    gain = (1 + random.uniform(-BRIGHTNESS, BRIGHTNESS)) * (1 + random.uniform(-COLOUR, COLOUR, 3))
    return np.clip(image * gain, 0, 255).astype(np.uint8)


def draw_captioned(
    pools: list[Pool], describe: Describe, training: CaptionerTraining, *names: object
) -> tuple[np.ndarray, list[str]]:
    """Return one batch that depends on ``names`` alone.

    Returns:
        images (n, h, w, 3) uint8, and n × wordings captions, those of one image next to each other.
    """
    random = rng("caption batch", *names)
    sizes = pool_sizes([pool.weight for pool in pools], training.batch_size, random.random())
    images, captions = [], []
    for pool, size in zip(pools, sizes, strict=True):
        for i in random.integers(len(pool.images), size=size):
            number = int(random.integers(8))
            images.append(recolour(turn(pool.images[i], number), random))
            labels = turn(pool.masks[i], number)
            seeds = random.integers(2**31, size=training.wordings)
            captions += [describe(labels, int(seed)) for seed in seeds]
    return np.stack(images), captions


def make_words(pools: list[Pool], describe: Describe, *names: object):
    """Return the tokenizer of the pools' captions, and the most tokens a caption may have."""
    random = rng("caption words", *names)
    maps = [mask for pool in pools for mask in pool.masks]
    captions = [
        describe(turn(maps[int(random.integers(len(maps)))], int(random.integers(8))), int(seed))
        for seed in random.integers(2**31, size=WORDS_FROM)
    ]
    tokenizer = train_tokenizer(captions)
    longest = max(len(ids) for ids in tokenizer(captions)["input_ids"])
    return tokenizer, int(SPARE * longest) + 1


def train_captioner(
    pools: list[Pool], describe: Describe, val_images: np.ndarray, score: Callable[[list[str | None]], float],
    training: CaptionerTraining, names: tuple, device: torch.device, labeller: Segmenter | None = None,
    checkpoint: Path | None = None, every_seconds: float = 60, progress: Callable = iter,
    words: tuple | None = None,
) -> tuple[Captioner, pd.DataFrame]:  # fmt: skip
    """Train for a number of steps; return the network of the validation that scored best.

    Args:
        pools: training chips with maps; each batch mixes them by weight.
        describe: writes a caption of a map, the wording decided by a seed.
        val_images: (n, h, w, 3) uint8; score: of their captions, None where there is none; higher is better.
        names: seed weights, words and every batch: same names, same run.
        labeller: what the encoder starts from; None is chance.
        checkpoint: file from which a killed training goes on; None keeps nothing.
        progress: wraps the loop over steps. words: from :func:`make_words`; None makes them of the pools.

    Returns:
        the captioner in evaluation mode, and its history: step, loss (mean since the last row), val_score.

    Raises:
        GroundsynthError: a loss that is not finite.
    """
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(derive_seed("captioner weights", *names))
        tokenizer, longest = words or make_words(pools, describe, *names)
        captioner = build_captioner(training.shape, tokenizer, longest, labeller)
        network, best = captioner.network.to(device), _Best(captioner.network)
        if labeller is not None and not training.tuned:
            network.encoder.segmenter.requires_grad_(False)
        learning = [p for p in network.parameters() if p.requires_grad]
        optimiser = torch.optim.AdamW(learning, training.learning_rate, weight_decay=1e-2)
        parts = {"model": network, "optimiser": optimiser, "best": best}
        done, log, spent = resume_checkpoint(checkpoint, device, **parts) if checkpoint else (0, [], 0.0)
        losses, begun = [], time.monotonic()
        saved = begun
        for step in progress(range(done + 1, training.steps + 1)):
            for group in optimiser.param_groups:
                group["lr"] = training.learning_rate * rate_factor(step, training.steps)
            batch = draw_captioned(pools, describe, training, *names, step)
            losses.append(train_step(captioner, optimiser, learning, batch, training.wordings, step))
            if step % training.validate_every == 0 or step == training.steps:
                value = float(score(captioner.describe(val_images)))
                log.append({"step": step, "loss": float(np.mean(losses)), "val_score": value})
                best.offer(value)
                losses = []
                if checkpoint and time.monotonic() - saved >= every_seconds:
                    saved = time.monotonic()
                    save_checkpoint(checkpoint, step, log, spent + saved - begun, **parts)
    network.load_state_dict(best.weights)
    network.eval()
    return captioner, pd.DataFrame(log)


class _Best:
    """The weights that scored best so far; saved and loaded with a checkpoint."""

    def __init__(self, network: nn.Module) -> None:
        self.network, self.value, self.weights = network, -math.inf, {}

    def offer(self, value: float) -> None:
        if value > self.value:
            self.value, self.weights = value, copy.deepcopy(self.network.state_dict())

    def state_dict(self) -> dict:
        return {"value": self.value, "weights": self.weights}

    def load_state_dict(self, state: dict) -> None:
        self.value, self.weights = state["value"], state["weights"]


def train_step(
    captioner: Captioner, optimiser: torch.optim.Optimizer, learning: list[nn.Parameter], batch: tuple,
    wordings: int, step: int,
) -> float:  # fmt: skip
    """Take one step on a batch of images and captions, ``wordings`` of each image in a row; return the loss."""
    network = captioner.network
    network.train()
    if not any(p.requires_grad for p in network.encoder.segmenter.parameters()):
        network.encoder.segmenter.eval()
    images, captions = batch
    labels = encode_captions(captioner.tokenizer, captions)[:, : captioner.longest].to(network.device)
    tokens = network.encoder(to_tensor(images).to(network.device)).last_hidden_state
    seen = tokens.repeat_interleave(wordings, 0)  # (n × wordings, tokens, width)
    loss = network(encoder_outputs=(seen,), labels=labels).loss
    if not torch.isfinite(loss):
        raise GroundsynthError(
            f"the loss is {loss.item()} at step {step}; it must stay a finite number, so lower learning_rate"
        )
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(learning, 1.0)
    optimiser.step()
    return loss.item()
