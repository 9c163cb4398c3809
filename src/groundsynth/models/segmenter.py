"""The segmenter that people would really train: build, train, apply, keep.

Networks come from segmentation-models-pytorch and start from random weights, so that every arm of
a comparison knows only what its own chips taught it; a labeller may start from an encoder's
published weights instead. Chips are small (32 or 64 pixels), hence the encoders stop at depth 4
(1/16 of the side) and the decoders are narrow.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import safetensors.torch
import segmentation_models_pytorch as smp
import torch
from torch import nn

from groundsynth.artifacts import atomic_path, read_json, remake_command, write_json
from groundsynth.errors import GroundsynthError
from groundsynth.legend import NO_LABEL, NUM_CLASSES, check_map, class_shares
from groundsynth.models.device import training_type
from groundsynth.models.encoder_weights import load_encoder
from groundsynth.seeds import derive_seed, rng

DECODERS: dict[str, dict] = {
    "Unet": {"encoder_depth": 4, "decoder_channels": (64, 48, 32, 16)},
    "UnetPlusPlus": {"encoder_depth": 4, "decoder_channels": (64, 48, 32, 16)},
    "FPN": {"encoder_depth": 4, "upsampling": 2},
    "Segformer": {"encoder_depth": 4, "decoder_segmentation_channels": 128},
    "DeepLabV3Plus": {"encoder_depth": 4},
    "PAN": {"encoder_depth": 4},
}
LEAST_SIDE = {"PAN": 128}  # its pyramid of pooled features needs 8 px at 1/16 of the side
BRIGHTNESS = 0.1  # largest relative change of brightness in augmentation
WARMUP = 0.1  # share of the steps in which the learning rate rises


@dataclass(frozen=True)
class Training:
    """What one training needs besides chips: the config's names and meanings."""

    architecture: str
    encoder: str
    steps: int
    batch_size: int
    learning_rate: float
    validate_every: int
    weights: str | None = None
    class_weights: str = "none"
    patience: int | None = None
    precision: str = "float32"


@dataclass(frozen=True)
class Pool:
    """Chips drawn together, and how often: a batch holds pools in proportion to their weights.

    ``images`` (n, h, w, 3) uint8, ``masks`` (n, h, w) uint8 class codes, 255 = no label; ``chances`` (n,) says how
    often each chip is drawn, to sum to 1, None = all alike.
    """

    name: str
    images: np.ndarray
    masks: np.ndarray
    weight: float = 1.0
    chances: np.ndarray | None = None


#: what may lay chips of a batch on one another: images, masks and a generator to new images and masks
Mix = Callable[[np.ndarray, np.ndarray, np.random.Generator], tuple[np.ndarray, np.ndarray]]


def make_pool(name: str, images: np.ndarray, masks: np.ndarray, weight: float = 1.0) -> Pool:
    """Return a pool of the chips that have at least one labelled pixel.

    Raises:
        GroundsynthError: counts that differ, a code outside the legend, nothing labelled.
    """
    if len(images) != len(masks):
        raise GroundsynthError(
            f"{name}: {len(images)} images and {len(masks)} masks; every image needs one mask, so match them "
            "by chip_id"
        )
    masks = check_map(masks, name) if len(masks) else masks
    labelled = np.array([(mask != NO_LABEL).any() for mask in masks], bool)
    if not labelled.any():
        raise GroundsynthError(
            f"{name}: none of its {len(masks)} chips has a labelled pixel; a training needs at least one, so "
            "give this set labels or leave it out"
        )
    return Pool(name, np.asarray(images)[labelled], masks[labelled], weight)


class Segmenter(nn.Module):
    """A network behind a layer that learns its training chips' mean and spread per channel.

    Satellite scenes are dark or bright as a whole. With the mean at 0, the zeros that a convolution
    pads its borders with are neutral, and the labels at a chip's edge are not worse for it.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.scale = nn.BatchNorm2d(3, affine=False, momentum=None)  # plain average over all batches
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits (n, 7, h, w) of images (n, 3, h, w) in [0, 1]."""
        return self.network(self.scale(images))

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Return the encoder's deepest features, averaged over each chip: (n, d)."""
        return self.network.encoder(self.scale(images))[-1].mean((2, 3))


def build_segmenter(architecture: str, encoder: str) -> Segmenter:
    """Return an untrained network: (n, 3, h, w) float to (n, 7, h, w) logits, h and w ≥ 32.

    Raises:
        GroundsynthError: an architecture or encoder that does not exist or do not fit together.
    """
    if architecture not in DECODERS:
        raise GroundsynthError(
            f"architecture '{architecture}' is not offered; choose one of {sorted(DECODERS)}"
        )
    network = getattr(smp, architecture)
    try:
        return Segmenter(
            network(
                encoder, encoder_weights=None, in_channels=3, classes=NUM_CLASSES, **DECODERS[architecture]
            )
        )
    except (KeyError, ValueError, RuntimeError, TypeError, IndexError) as error:
        raise GroundsynthError(
            f"encoder '{encoder}' does not work with {architecture} ({error}); choose another encoder of "
            "segmentation-models-pytorch, such as resnet18"
        ) from None


def check_side(architecture: str, side: int) -> None:
    """Stop unless chips of this side in pixels suit the architecture."""
    least = LEAST_SIDE.get(architecture, 32)
    if side < least:
        raise GroundsynthError(
            f"chips of {side} px are too small for {architecture}, which needs {least}; take larger chips or "
            "another architecture"
        )


# --- batches ---------------------------------------------------------------------------------


def to_tensor(images: np.ndarray) -> torch.Tensor:
    """Return uint8 images (n, h, w, 3) as float32 (n, 3, h, w) in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 255


def augment(
    image: np.ndarray, mask: np.ndarray, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return a chip under one of the eight flips and rotations and ±10 % brightness."""
    turns, flip = random.integers(4), random.random() < 0.5
    image, mask = np.rot90(image, turns), np.rot90(mask, turns)
    if flip:
        image, mask = image[:, ::-1], mask[:, ::-1]
    gain = 1 + random.uniform(-BRIGHTNESS, BRIGHTNESS)
    return np.clip(image * gain, 0, 255).astype(np.uint8), mask


def pool_sizes(weights: list[float], batch_size: int, offset: float) -> np.ndarray:
    """Return how many chips of each pool a batch takes: whole numbers that sum to ``batch_size``.

    Systematic sampling: each is within one of its exact share, and equal to it on average when
    ``offset`` is uniform in [0, 1).
    """
    edges = np.concatenate([[0.0], np.cumsum(weights) / np.sum(weights) * batch_size])
    return np.diff(np.floor(np.round(edges, 9) + offset).astype(int))


def draw_batch(
    pools: list[Pool], batch_size: int, *names: object, mix: Mix | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return one augmented batch that depends on ``names`` alone.

    Args:
        mix: lays augmented chips on one another; chips are drawn and turned as without it.

    Returns:
        images (n, h, w, 3) uint8 and masks (n, h, w) uint8.
    """
    random = rng("batch", *names)
    sizes = pool_sizes([pool.weight for pool in pools], batch_size, random.random())
    chips = [
        augment(pool.images[i], pool.masks[i], random)
        for pool, size in zip(pools, sizes, strict=True)
        for i in _draw_chips(pool, size, random)
    ]
    images, masks = (np.stack(part) for part in zip(*chips, strict=True))
    return mix(images, masks, random) if mix else (images, masks)


def _draw_chips(pool: Pool, size: int, random: np.random.Generator) -> np.ndarray:
    if pool.chances is None:
        return random.integers(len(pool.images), size=size)
    return random.choice(len(pool.images), size, p=pool.chances)


# --- training --------------------------------------------------------------------------------


def class_weights(pools: list[Pool], rule: str) -> torch.Tensor | None:
    """Return (7,) weights of the cross-entropy, 1 on average over the labelled pixels drawn; None for none.

    Args:
        pools: their class shares count in proportion to their weights.
        rule: ``none``, ``inverse`` to a class's share, or to its square root (``inverse_sqrt``). Classes
            that no pool holds weigh nothing.
    """
    if rule == "none":
        return None
    shares = np.average([class_shares(pool.masks) for pool in pools], 0, [pool.weight for pool in pools])
    power = {"inverse": 1.0, "inverse_sqrt": 0.5}[rule]
    weights = np.divide(1.0, shares**power, out=np.zeros(NUM_CLASSES), where=shares > 0)
    return torch.from_numpy(weights / (weights * shares).sum()).float()


def segmentation_loss(
    logits: torch.Tensor, masks: torch.Tensor, weight: torch.Tensor | None = None
) -> torch.Tensor:
    """Return cross-entropy plus Dice over the labelled pixels.

    Args:
        logits: (n, 7, h, w).
        masks: (n, h, w) int64, 255 = no label.
        weight: (7,) of the classes in the cross-entropy, from :func:`class_weights`.

    Returns:
        a scalar; exactly 0 (with zero gradient) where nothing is labelled.
    """
    if not (masks != NO_LABEL).any():
        return (logits * 0).sum()
    dice = smp.losses.DiceLoss(mode="multiclass", ignore_index=NO_LABEL)
    entropy = nn.functional.cross_entropy(logits, masks, weight, ignore_index=NO_LABEL)
    return entropy + dice(logits, masks)


def rate_factor(step: int, steps: int) -> float:
    """Return the share of the peak learning rate at step 1…steps: linear warm-up, then half a cosine."""
    warmup = max(1, round(WARMUP * steps))
    if step <= warmup:
        return step / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup + 1)))


def train_segmenter(
    pools: list[Pool],
    val_images: np.ndarray,
    score: Callable[[np.ndarray], float],
    training: Training,
    names: tuple,
    device: torch.device,
    progress: Callable = iter,
    start: Segmenter | None = None,
    mix: Mix | None = None,
) -> tuple[Segmenter, pd.DataFrame]:
    """Train for a number of steps; return the checkpoint that scored best on validation.

    With ``training.patience``, training ends once that many validations in a row brought no better score. Where
    ``training.precision`` is bfloat16 (or becomes it), the network computes in it and in channels-last order;
    weights, loss and prediction stay float32.

    Args:
        pools: training chips; each batch mixes them by weight.
        val_images: (n, h, w, 3) uint8.
        score: of the predicted validation labels (n, h, w) uint8; higher is better.
        names: seed the weights and every batch: same names, same run.
        progress: wraps the loop over steps, e.g. ``tqdm``.
        start: a trained network to go on from, with a learning-rate schedule of its own and the mean and spread
            of these chips learned anew; None begins with random weights.
        mix: lays chips of a batch on one another (see :func:`draw_batch`).

    Returns:
        the model in evaluation mode, and its history: step, loss (mean since the last row), val_score.

    Raises:
        GroundsynthError: the loss or the validation score is not a finite number, or chips or batches that
            are too small for the architecture.
    """
    check_side(training.architecture, min(pool.images.shape[1] for pool in pools))
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(derive_seed("weights", *names))
        model = build_segmenter(training.architecture, training.encoder)
        if training.weights:
            load_encoder(model, training.weights)
        if start is not None:
            model.load_state_dict(start.state_dict())
            model.scale.reset_running_stats()
        dtype = training_type(device, training.precision)
        if dtype != torch.float32:
            model = model.to(memory_format=torch.channels_last)
        model, weight = model.to(device), class_weights(pools, training.class_weights)
        weight = None if weight is None else weight.to(device)
        optimiser = torch.optim.AdamW(model.parameters(), training.learning_rate, weight_decay=1e-2)
        rows, losses, best, kept, waited = [], [], -math.inf, {}, 0
        for step in progress(range(1, training.steps + 1)):
            for group in optimiser.param_groups:
                group["lr"] = training.learning_rate * rate_factor(step, training.steps)
            batch = draw_batch(pools, training.batch_size, *names, step, mix=mix)
            losses.append(_train_step(model, optimiser, batch, weight, step, dtype))
            if step % training.validate_every == 0 or step == training.steps:
                value = _validate(model, val_images, score, training.batch_size, step)
                rows.append({"step": step, "loss": float(np.mean(losses)), "val_score": value})
                losses = []
                if value > best:
                    best, kept, waited = value, copy.deepcopy(model.state_dict()), 0
                elif training.patience:
                    waited += 1
                    if waited == training.patience:
                        break
    model.load_state_dict(kept)
    return model.eval(), pd.DataFrame(rows)


def _validate(model: Segmenter, images: np.ndarray, score: Callable, batch_size: int, step: int) -> float:
    value = float(score(predict(model, images, 4 * batch_size)[0]))
    if not math.isfinite(value):
        raise GroundsynthError(
            f"the validation score is {value} at step {step}; a checkpoint is chosen by a finite one, so "
            "give validation chips that hold the classes it is made of"
        )
    return value


def _train_step(
    model: Segmenter, optimiser: torch.optim.Optimizer, batch: tuple, weight: torch.Tensor | None, step: int,
    dtype: torch.dtype,
) -> float:  # fmt: skip
    model.train()
    images, masks = batch
    device = next(model.parameters()).device
    targets = torch.from_numpy(masks).long().to(device)  # (n, h, w)
    try:
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            logits = model(_ordered(to_tensor(images), dtype).to(device)).float()
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise GroundsynthError(
            f"batch_size = {len(images)} is too small for this network on chips of {images.shape[1]} px: it "
            "normalises over the batch, so take 2 or more"
        ) from None
    loss = segmentation_loss(logits, targets, weight)
    if not torch.isfinite(loss):
        raise GroundsynthError(
            f"the loss is {loss.item()} at step {step}; it must stay a finite number, so lower learning_rate"
        )
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    optimiser.step()
    return loss.item()


def _ordered(images: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    return images if dtype == torch.float32 else images.contiguous(memory_format=torch.channels_last)


# --- use -------------------------------------------------------------------------------------


@torch.inference_mode()
def predict(model: Segmenter, images: np.ndarray, batch_size: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """Label chips.

    Args:
        images: (n, h, w, 3) uint8.

    Returns:
        labels (n, h, w) uint8 class codes 0…6, and trust (n, h, w) uint8: 255 × the probability the
        network gives the class it names.

    Raises:
        GroundsynthError: logits that are not finite.
    """
    model.eval()
    device = next(model.parameters()).device
    labels, trust = np.empty((2, *np.shape(images)[:3]), np.uint8)
    for start in range(0, len(images), batch_size):
        part = slice(start, start + batch_size)
        highest, named = model(to_tensor(images[part]).to(device)).softmax(1).max(1)  # (n, h, w)
        if not torch.isfinite(highest).all():
            raise GroundsynthError(
                f"chips {start} and on: the segmenter's output is not finite; its weights are damaged, so "
                "train it again"
            )
        labels[part] = named.byte().cpu().numpy()
        trust[part] = (255 * highest).round().byte().cpu().numpy()
    return labels, trust


@torch.inference_mode()
def encode(model: Segmenter, images: np.ndarray, batch_size: int = 64) -> np.ndarray:
    """Return the encoder's deepest features, averaged over each chip: (n, d) float32."""
    model.eval()
    device = next(model.parameters()).device
    parts = [
        model.features(to_tensor(images[start : start + batch_size]).to(device)).cpu().numpy()
        for start in range(0, len(images), batch_size)
    ]
    return np.concatenate(parts).astype(np.float32)


def save_segmenter(model: Segmenter, folder: Path, architecture: str, encoder: str) -> None:
    """Write ``model.safetensors`` and ``model.json`` (what to build before loading them)."""
    write_json(Path(folder) / "model.json", {"architecture": architecture, "encoder": encoder})
    state = {name: tensor.contiguous().cpu() for name, tensor in model.state_dict().items()}
    with atomic_path(Path(folder) / "model.safetensors") as temporary:
        safetensors.torch.save_file(state, temporary)


def load_segmenter(folder: Path, device: torch.device | str = "cpu") -> Segmenter:
    """Return a saved segmenter in evaluation mode.

    Raises:
        GroundsynthError: missing or damaged files.
    """
    weights = Path(folder) / "model.safetensors"
    remake = remake_command(weights)
    about = read_json(Path(folder) / "model.json", remake)
    try:
        model = build_segmenter(about["architecture"], about["encoder"])
        model.load_state_dict(safetensors.torch.load_file(weights))
    except (KeyError, OSError, RuntimeError, safetensors.SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise GroundsynthError(
            f"{weights}: not the weights of a segmenter ({reason}); remake it: {remake}"
        ) from None
    return model.to(device).eval()
