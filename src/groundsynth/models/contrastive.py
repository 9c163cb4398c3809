"""A small image–text model in the manner of CLIP: which of many captions belongs to an image?

Two towers meet in one space of unit vectors: a residual network that averages its cells over the nine
places captions name, and convolutions over the frozen word vectors of a sentence encoder; some tens of
thousands of weights each. The temperature is learned (Radford et al., 2103.00020).

Two things make up for how little ground there is to learn from. Many chips of one landscape have nearly
the same caption, so the usual target, that exactly one caption of a batch is right, would teach
falsehoods: the captions share it by the likeness of what their chips show (soft targets, as in Andonian
et al., 2204.03389, with the likeness given instead of learned). And each tower also reads off the class
shares of every place, by a layer that only training uses.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from torch import nn

from groundsynth.artifacts import atomic_path, read_json, write_json
from groundsynth.data.turns import TURNS, turn
from groundsynth.errors import GroundsynthError
from groundsynth.legend import NUM_CLASSES
from groundsynth.models.checkpoint import resume_checkpoint, save_checkpoint
from groundsynth.models.segmenter import BRIGHTNESS, rate_factor, to_tensor
from groundsynth.models.word_states import PADDING, number_words, word_vectors
from groundsynth.seeds import derive_seed, rng

FIRST_SCALE, HIGHEST_SCALE = 20.0, 100.0  # of the learned temperature's inverse
#: how much the whole chip and each of nine places count in what two chips show
SHOWN_WEIGHTS = (0.5, *(0.5 / 9,) * 9)
CELLS = 8  # the image tower describes 8 × 8 cells
KERNEL, DILATIONS = 5, (1, 2)  # of the text tower's convolutions


@dataclass(frozen=True)
class Sizes:
    """What must be known to build the model before its weights are read: channels, dimensions."""

    width: int = 16
    channels: int = 16
    words: int = 48
    space: int = 128


@dataclass(frozen=True)
class Fitting:
    """How a model is trained.

    Attributes:
        steps, batch_size, learning_rate: of AdamW, warm-up and cosine decay.
        softness: distance of what two chips show (0…2) at which the other's caption counts 1/e as much
            as the own one; 0 = only the own one counts.
        reading: weight of the error of the shares that each tower reads off; 0 = no reading.
        checkpoint_seconds: between checkpoints.
    """

    steps: int = 250
    batch_size: int = 64
    learning_rate: float = 3e-3
    softness: float = 0.2
    reading: float = 2.0
    checkpoint_seconds: float = 30.0


@dataclass(frozen=True)
class Pairs:
    """Images with their captions under each of the eight flips and right-angle turns.

    Attributes:
        images: (n, h, w, 3) uint8, as they are; turned when they are drawn.
        words: (n, 8, k, length) int32, k wordings of the caption of each turn (``number_words``).
        shown: (n, 8, 10, 7) float32, what each turn shows: class shares of the whole chip and of nine
            places, in the order of ``place_weights``.
    """

    images: np.ndarray
    words: np.ndarray
    shown: np.ndarray

    def take(self, places: np.ndarray) -> Pairs:
        """Return the pairs at these places."""
        return Pairs(self.images[places], self.words[places], self.shown[places])


class Block(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.GELU(),
            nn.Conv2d(after, after, 3, 1, 1, bias=False), nn.BatchNorm2d(after),
        )  # fmt: skip
        self.shortcut = nn.Conv2d(before, after, 1, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.gelu(self.body(x) + self.shortcut(x))


class ImageTower(nn.Module):
    """(n, 3, h, w) in [0, 1] to (n, space).

    Every cell is described by the same layers in few channels, and the cells of each place are averaged,
    so that what is learned of one corner holds for all: there is little ground to learn from.
    """

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        w = sizes.width
        self.scale = nn.BatchNorm2d(3, affine=False)
        self.stem = nn.Sequential(nn.Conv2d(3, w, 4, 4), nn.BatchNorm2d(w), nn.GELU())
        self.blocks = nn.Sequential(Block(w, w, 1), Block(w, 2 * w, 2))
        self.cells = nn.Sequential(
            nn.Dropout2d(0.1), nn.Conv2d(2 * w, sizes.channels, 1), nn.AdaptiveAvgPool2d(CELLS)
        )
        self.register_buffer("places", place_weights())
        self.head = nn.Linear(sizes.channels * len(self.places), sizes.space)

    def describe(self, images: torch.Tensor) -> torch.Tensor:
        """Return the mean description of each place, (n, places, channels)."""
        cells = self.cells(self.blocks(self.stem(self.scale(images)))).flatten(2)  # (n, c, cells)
        return self.places @ cells.transpose(1, 2)

    def place(self, described: torch.Tensor) -> torch.Tensor:
        """Return descriptions (n, places, channels) as points of the common space, (n, space)."""
        return self.head(described.flatten(1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.place(self.describe(images))


def place_weights() -> torch.Tensor:
    """Return the weight of each of 8 × 8 cells in the mean of the whole chip and of nine places, (10, 64)."""
    row, col = np.meshgrid(*[(np.arange(CELLS) + 0.5) / CELLS] * 2, indexing="ij")
    n, w = row < 0.5, col < 0.5
    centre = (abs(row - 0.5) <= 0.25) & (abs(col - 0.5) <= 0.25)
    parts = [n | ~n, n, n & ~w, ~w, ~n & ~w, ~n, ~n & w, w, n & w, centre]
    weights = np.stack(parts).reshape(len(parts), -1).astype(np.float32)
    return torch.from_numpy(weights / weights.sum(1, keepdims=True))


class TextTower(nn.Module):
    """(n, length) word numbers to (n, space)."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        w = sizes.words
        self.enter = nn.Linear(word_vectors().shape[1], w)
        self.layers = nn.ModuleList(nn.Conv1d(w, w, KERNEL, padding="same", dilation=d) for d in DILATIONS)
        self.norms = nn.ModuleList(nn.LayerNorm(w) for _ in DILATIONS)
        self.head = nn.Sequential(nn.Linear(2 * w, 2 * w), nn.GELU(), nn.Linear(2 * w, sizes.space))

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        there = (words != PADDING)[..., None]  # (n, length, 1)
        used, place = words.unique(return_inverse=True)  # a batch has few different words
        entered = self.enter(word_vectors().to(words.device)[used])
        states = nn.functional.embedding(place, entered) * there  # (n, length, w)
        for layer, norm in zip(self.layers, self.norms, strict=True):
            states = norm(states + nn.functional.gelu(layer(states.transpose(1, 2))).transpose(1, 2)) * there
        mean = states.sum(1) / there.sum(1).clamp(min=1)
        most = states.masked_fill(~there, -1e4).amax(1).clamp(min=-1e2)
        return self.head(torch.cat([mean, most], 1))


class ContrastiveModel(nn.Module):
    """Both towers and the learned inverse temperature."""

    def __init__(self, sizes: Sizes | None = None) -> None:
        super().__init__()
        self.sizes = sizes or Sizes()
        self.image_tower, self.text_tower = ImageTower(self.sizes), TextTower(self.sizes)
        self.read_text = nn.Linear(self.sizes.space, len(SHOWN_WEIGHTS) * NUM_CLASSES)
        self.read_image = nn.Linear(self.sizes.channels, NUM_CLASSES)
        self.log_scale = nn.Parameter(torch.tensor(float(np.log(FIRST_SCALE))))

    @property
    def scale(self) -> torch.Tensor:
        """What cosines are multiplied by, at most 100."""
        return self.log_scale.exp().clamp(max=HIGHEST_SCALE)

    def compare(self, image: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        """Return the scaled cosine of every image with every caption, (images, captions)."""
        normalize = nn.functional.normalize
        return self.scale * normalize(image, dim=1) @ normalize(text, dim=1).T

    @torch.inference_mode()
    def encode_images(self, images: np.ndarray, batch_size: int = 256) -> np.ndarray:
        """Return unit vectors of images (n, h, w, 3) uint8: (n, space) float32."""
        parts = [images[i : i + batch_size] for i in range(0, len(images), batch_size)]
        return self._encode(self.image_tower, [to_tensor(part) for part in parts])

    def encode_captions(self, captions: Sequence[str], batch_size: int = 256) -> np.ndarray:
        """Return unit vectors of captions: (n, space) float32."""
        return self.encode_words(number_words(captions), batch_size)

    @torch.inference_mode()
    def encode_words(self, words: np.ndarray, batch_size: int = 256) -> np.ndarray:
        """Return unit vectors of captions as rows of word numbers (n, length): (n, space) float32."""
        parts = [words[i : i + batch_size] for i in range(0, len(words), batch_size)]
        return self._encode(self.text_tower, [torch.from_numpy(part).long() for part in parts])

    def _encode(self, tower: nn.Module, batches: list[torch.Tensor]) -> np.ndarray:
        self.eval()
        device = self.log_scale.device
        rows = [nn.functional.normalize(tower(batch.to(device)), dim=1).cpu().numpy() for batch in batches]
        return np.concatenate(rows) if rows else np.empty((0, self.sizes.space), np.float32)


# --- training --------------------------------------------------------------------------------


def unlikeness(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Return how unlike what two chips show is: 0 (alike) to 2 (no class in common), (…) of (…, 10, 7) shares."""
    weights = torch.tensor(SHOWN_WEIGHTS, device=first.device)
    return ((first - second).abs().sum(-1) * weights).sum(-1)


def soft_targets(shown: torch.Tensor, softness: float) -> torch.Tensor:
    """Return how much each caption of a batch is right for each image, (b, b), rows of sum 1.

    Args:
        shown: (b, 10, 7), what the chips show.
        softness: see :class:`Fitting`.
    """
    if softness == 0:
        return torch.eye(len(shown), device=shown.device)
    return (-unlikeness(shown[:, None], shown[None]) / softness).softmax(1)


def contrastive_loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the mean divergence of both directions' guesses from soft targets; 0 where they agree.

    Args:
        logits: (b, b) scaled cosines; targets: (b, b), symmetric in what they compare, rows of sum 1.
    """
    loss = nn.functional.kl_div
    by_image = loss(logits.log_softmax(1), targets, reduction="batchmean")
    return 0.5 * (by_image + loss(logits.T.log_softmax(1), targets, reduction="batchmean"))


def batch_loss(
    model: ContrastiveModel, images: torch.Tensor, words: torch.Tensor, shown: torch.Tensor, fitting: Fitting
) -> torch.Tensor:
    """Return the contrastive loss of a batch, and with ``fitting.reading`` the error of what is read off."""
    described, text = model.image_tower.describe(images), model.text_tower(words)
    loss = contrastive_loss(
        model.compare(model.image_tower.place(described), text), soft_targets(shown, fitting.softness)
    )
    if fitting.reading:
        of_text = model.read_text(text).unflatten(1, shown.shape[1:]).softmax(-1)
        of_image = model.read_image(described).softmax(-1)
        wrong = unlikeness(of_image, shown) + unlikeness(of_text, shown)
        loss = loss + fitting.reading * wrong.mean()
    return loss


def draw_pairs(pairs: Pairs, n: int, *names: object) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return images, words and what is shown of a batch without a chip twice; it depends on ``names`` alone.

    Each chip comes under a random turn, with one of that turn's wordings and ±10 % brightness.
    """
    random = rng("contrastive batch", *names)
    places = random.permutation(len(pairs.images))[:n]
    turns = random.integers(TURNS, size=len(places))
    wordings = random.integers(pairs.words.shape[2], size=len(places))
    images = np.stack([turn(pairs.images[p], t) for p, t in zip(places, turns, strict=True)])
    gain = 1 + random.uniform(-BRIGHTNESS, BRIGHTNESS, (len(places), 1, 1, 1))
    images = np.clip(images * gain, 0, 255).astype(np.uint8)
    words = torch.from_numpy(pairs.words[places, turns, wordings]).long()
    longest = max(1, int((words != PADDING).sum(1).max()))
    return to_tensor(images), words[:, :longest], torch.from_numpy(pairs.shown[places, turns])


def train_contrastive(
    pairs: Pairs,
    fitting: Fitting,
    names: tuple,
    device: torch.device | str = "cpu",
    checkpoint: Path | None = None,
    progress: Callable = iter,
    sizes: Sizes | None = None,
) -> tuple[ContrastiveModel, list[dict]]:
    """Train on pairs; return the model in evaluation mode and its log: step, loss.

    Args:
        names: seed weights and batches: same names, same run.
        checkpoint: a file to resume from, removed at the end; None keeps none.
        progress: wraps the loop over steps, e.g. ``tqdm``.

    Raises:
        GroundsynthError: fewer than two pairs, or a loss that is not finite.
    """
    if len(pairs.images) < 2:
        raise GroundsynthError(
            f"{len(pairs.images)} image–text pair: a contrast needs two or more, so give this set more chips"
        )
    device = torch.device(device)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(derive_seed("contrastive", *names))
        model = ContrastiveModel(sizes).to(device)
        optimiser = torch.optim.AdamW(model.parameters(), fitting.learning_rate, weight_decay=0.05)
        done, log, spent = 0, [], 0.0
        if checkpoint:
            done, log, spent = resume_checkpoint(checkpoint, device, model=model, optimiser=optimiser)
        began = saved = time.monotonic()
        for step in progress(range(done + 1, fitting.steps + 1)):
            batch = draw_pairs(pairs, fitting.batch_size, *names, step)
            log.append({"step": step, "loss": _fit_step(model, optimiser, batch, fitting, step)})
            if checkpoint and time.monotonic() - saved >= fitting.checkpoint_seconds:
                saved = time.monotonic()
                save_checkpoint(
                    checkpoint, step, log, spent + saved - began, model=model, optimiser=optimiser
                )
    if checkpoint:
        checkpoint.unlink(missing_ok=True)
    return model.eval(), log


def _fit_step(model, optimiser, batch, fitting: Fitting, step: int) -> float:
    model.train()
    for group in optimiser.param_groups:
        group["lr"] = fitting.learning_rate * rate_factor(step, fitting.steps)
    images, words, shown = (part.to(model.log_scale.device) for part in batch)
    loss = batch_loss(model, images, words, shown, fitting)
    if not torch.isfinite(loss):
        raise GroundsynthError(
            f"the contrastive loss is {loss.item()} at step {step}; it must stay finite, so lower the learning rate"
        )
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimiser.step()
    return loss.item()


# --- files -----------------------------------------------------------------------------------


def training_key(pairs: Pairs, *settings: object) -> str:
    """Name a training by everything that decides its model: settings, pairs and this file."""
    digest = hashlib.sha256(repr(settings).encode() + Path(__file__).read_bytes())
    for array in (pairs.images, pairs.words, pairs.shown):
        digest.update(repr((array.shape, str(array.dtype))).encode())
        digest.update(np.ascontiguousarray(array))
    return digest.hexdigest()[:16]


def train_once(
    pairs: Pairs,
    fitting: Fitting,
    names: tuple,
    kept: Path,
    device: torch.device | str = "cpu",
    progress: Callable = iter,
    sizes: Sizes | None = None,
) -> ContrastiveModel:
    """Return a model trained on pairs, from the folder of finished ones if it is there already.

    Args:
        kept: folder of finished models and of checkpoints; elsewhere as in :func:`train_contrastive`.
    """
    key = training_key(pairs, fitting, sizes, names, torch.device(device).type)
    if (kept / key / "model.json").is_file():
        return load_contrastive(kept / key, device)
    model, log = train_contrastive(pairs, fitting, names, device, kept / f"{key}.pt", progress, sizes)
    about = {
        "pairs": len(pairs.images),
        "steps": fitting.steps,
        "names": list(names),
        "loss": log[-1]["loss"],
    }
    save_contrastive(model, kept / key, about)
    return model


def save_contrastive(model: ContrastiveModel, folder: Path, about: dict) -> None:
    """Write ``model.safetensors`` and ``model.json``: kind, sizes, and what the caller says of it."""
    state = {name: tensor.contiguous().cpu() for name, tensor in model.state_dict().items()}
    with atomic_path(Path(folder) / "model.safetensors") as temporary:
        safetensors.torch.save_file(state, temporary)
    write_json(
        Path(folder) / "model.json", {"kind": "contrastive", "sizes": asdict(model.sizes), "about": about}
    )


def load_contrastive(folder: Path, device: torch.device | str = "cpu") -> ContrastiveModel:
    """Return a saved model in evaluation mode.

    Raises:
        GroundsynthError: missing or damaged files.
    """
    remake = "train it again"
    found = read_json(Path(folder) / "model.json", remake)
    path = Path(folder) / "model.safetensors"
    try:
        model = ContrastiveModel(Sizes(**found["sizes"]))
        model.load_state_dict(safetensors.torch.load_file(path))
    except (KeyError, TypeError, OSError, RuntimeError, safetensors.SafetensorError) as error:
        raise GroundsynthError(
            f"{path}: not the weights of a contrastive model ({str(error).splitlines()[0]}); {remake}"
        ) from None
    return model.to(device).eval()
