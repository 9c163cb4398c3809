"""An image-only captioning network: a vision encoder and a small language model, from random weights.

The network is a ``VisionEncoderDecoderModel`` of transformers. Its encoder turns a chip into tokens: one for the
whole chip, four for its quarters, and so on (a pyramid, as Lazebnik et al. 2006). Its decoder is a GPT-2 that attends
to them (the scheme of Show, Attend and Tell, Xu et al. 2015, with a transformer as decoder). The encoder is that of a
segmenter. It may start from the study's trained labeller; then the labeller's belief about every part of the chip is
among the tokens.

A folder written by :meth:`Captioner.save_pretrained` is a transformers model with its tokenizer:

>>> from groundsynth.models.captioner import Captioner  # doctest: +SKIP
>>> Captioner.from_pretrained("captioner").describe(images)  # doctest: +SKIP
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import nn
from transformers import (
    AutoConfig,
    AutoModel,
    GPT2Config,
    LogitsProcessorList,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    VisionEncoderDecoderConfig,
    VisionEncoderDecoderModel,
)
from transformers.modeling_outputs import BaseModelOutput
from transformers.utils import logging

from groundsynth.errors import GroundsynthError
from groundsynth.legend import NUM_CLASSES
from groundsynth.models.segmenter import Segmenter, build_segmenter, to_tensor
from groundsynth.seeded_draws import SeededDraws

PAD, START, END = "<pad>", "<s>", "</s>"
DROPOUT = 0.1
BELIEF = 4.0  # probabilities are scaled by this, to weigh as much as normalised features
VOCABULARY = 2048  # most tokens; captions of the layout writer make a few hundred, a word each


@dataclass(frozen=True)
class CaptionerShape:
    """How large a captioner is.

    Attributes:
        architecture, encoder: of the segmenter whose encoder sees the chip.
        reads_map: whether that segmenter's belief about each class is a part of the tokens.
        grid: tokens on a side of the finest level, a power of two. width: of the decoder, a multiple of 32. layers: of the decoder.
    """

    architecture: str = "Unet"
    encoder: str = "resnet18"
    reads_map: bool = False
    grid: int = 4
    width: int = 128
    layers: int = 2


class ChipEncoderConfig(PreTrainedConfig):
    """Settings of :class:`ChipEncoder`; see :class:`CaptionerShape`."""

    model_type = "groundsynth_chip_encoder"

    def __init__(
        self, architecture: str = "Unet", encoder: str = "resnet18", reads_map: bool = False, grid: int = 4,
        hidden_size: int = 128, **more: object,
    ) -> None:  # fmt: skip
        super().__init__(**more)
        self.architecture, self.encoder, self.reads_map = architecture, encoder, reads_map
        self.grid, self.hidden_size = grid, hidden_size


class ChipEncoder(PreTrainedModel):
    """A chip as a pyramid of tokens: what a segmenter's encoder sees there, and what class it believes in."""

    config_class = ChipEncoderConfig
    main_input_name = "pixel_values"

    def __init__(self, config: ChipEncoderConfig) -> None:
        super().__init__(config)
        segmenter = build_segmenter(config.architecture, config.encoder)
        channels = segmenter.network.encoder.out_channels[-2:]
        self.norms = nn.ModuleList([nn.BatchNorm2d(c) for c in channels])
        size = sum(channels)
        if config.reads_map:
            size += NUM_CLASSES
        else:
            segmenter.network.decoder = segmenter.network.segmentation_head = nn.Identity()
        self.segmenter = segmenter
        self.project = nn.Linear(size, config.hidden_size)
        self.levels = [2**k for k in range(config.grid.bit_length())]  # 1, 2, 4 tokens on a side
        # places differ from the start: from zeros, they are not told apart within a short training
        tokens = sum(side**2 for side in self.levels)
        self.places = nn.Parameter(torch.randn(tokens, config.hidden_size) / 2)
        self.post_init()

    def forward(self, pixel_values: torch.Tensor, **_: object) -> BaseModelOutput:
        """Return tokens (n, 1 + 4 + … + grid², width) of images (n, 3, h, w) in [0, 1]."""
        network = self.segmenter.network
        features = network.encoder(self.segmenter.scale(pixel_values))
        maps = [norm(x) for norm, x in zip(self.norms, features[-2:], strict=True)]
        if self.config.reads_map:
            logits = network.segmentation_head(network.decoder(features))
            maps.append(BELIEF * logits.softmax(1))
        tokens = torch.cat([_tokens(maps, side) for side in self.levels], 1)
        return BaseModelOutput(last_hidden_state=self.project(tokens) + self.places)


def _tokens(maps: list[torch.Tensor], side: int) -> torch.Tensor:
    """Return the means of maps (n, c, h, w) over side × side equal parts, (n, side², sum of c)."""
    pooled = [nn.functional.adaptive_avg_pool2d(part, side) for part in maps]
    return torch.cat(pooled, 1).flatten(2).transpose(1, 2)


AutoConfig.register(ChipEncoderConfig.model_type, ChipEncoderConfig, exist_ok=True)
AutoModel.register(ChipEncoderConfig, ChipEncoder, exist_ok=True)


# --- words -----------------------------------------------------------------------------------


def train_tokenizer(captions: Iterable[str]) -> PreTrainedTokenizerFast:
    """Return a byte-level BPE tokenizer of some captions; what it encodes it decodes to the letter.

    A small grammar's words become one token each; letters it never met are spelled in bytes.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=[PAD, START, END], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    tokenizer.train_from_iterator(captions, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=PAD, bos_token=START, eos_token=END,
        clean_up_tokenization_spaces=False,
    )  # fmt: skip


def encode_captions(tokenizer: PreTrainedTokenizerFast, captions: Sequence[str]) -> torch.Tensor:
    """Return token ids with the end of each caption, (n, t) int64; -100, which no loss counts, behind it."""
    rows = [torch.tensor([*ids, tokenizer.eos_token_id]) for ids in tokenizer(list(captions))["input_ids"]]
    return nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=-100)


# --- the captioner ---------------------------------------------------------------------------


class Captioner:
    """A captioning network with its tokenizer.

    Attributes:
        network: the transformers model; tokenizer: its words.
        version: names the weights, the same for the same ones.
    """

    def __init__(self, network: VisionEncoderDecoderModel, tokenizer: PreTrainedTokenizerFast) -> None:
        self.network, self.tokenizer = network, tokenizer

    @property
    def version(self) -> str:
        """Return 12 hex digits of weights and words."""
        digest = hashlib.sha256(self.tokenizer.backend_tokenizer.to_str().encode())
        for name, tensor in sorted(self.network.state_dict().items()):
            digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:12]

    @torch.inference_mode()
    def describe(
        self, images: np.ndarray, beams: int = 1, temperature: float = 0.0, seeds: Sequence[int] | None = None,
        batch_size: int = 64,
    ) -> list[str | None]:  # fmt: skip
        """Return one caption per image, cut at the longest the network can write; None where nothing was written.

        Args:
            images: (n, h, w, 3) uint8.
            beams: captions that are kept side by side; 1 is greedy.
            temperature: above 0, words are drawn, each caption's by its own seed; then ``beams`` is 1.
            seeds: n of them, wanted with a temperature. batch_size: chips at once; changes no caption but
                for rounding.
        """
        self.network.eval()
        captions: list[str | None] = []
        for start in range(0, len(images), batch_size):
            part = slice(start, start + batch_size)
            draws = LogitsProcessorList()
            if temperature:
                draws.append(SeededDraws([int(seed) for seed in seeds[part]], temperature))
            rows = self.network.generate(
                pixel_values=to_tensor(np.asarray(images[part])).to(self.network.device),
                num_beams=beams, do_sample=False, max_new_tokens=self.longest, min_new_tokens=2,
                suppress_tokens=[self.tokenizer.pad_token_id, self.tokenizer.bos_token_id],
                logits_processor=draws,
            )  # fmt: skip
            captions += [self._text(row) for row in rows.cpu()]
        return captions

    @property
    def longest(self) -> int:
        """The most tokens of a caption, its end included."""
        return self.network.config.decoder.n_positions - 1

    def _text(self, row: torch.Tensor) -> str | None:
        return " ".join(self.tokenizer.decode(row, skip_special_tokens=True).split()) or None

    def save_pretrained(self, folder: Path) -> None:
        """Write model and tokenizer as transformers does."""
        with _no_bars():
            self.network.save_pretrained(folder)
            self.tokenizer.save_pretrained(folder)

    @classmethod
    def from_pretrained(cls, folder: Path, device: torch.device | str = "cpu") -> Captioner:
        """Return a saved captioner in evaluation mode.

        Raises:
            GroundsynthError: no captioner there, or a damaged one.
        """
        try:
            with _no_bars():
                network = VisionEncoderDecoderModel.from_pretrained(folder, local_files_only=True)
            tokenizer = PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError, KeyError, RuntimeError, TypeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise GroundsynthError(
                f"{folder}: not a captioner ({reason}); name a folder that Captioner.save_pretrained wrote"
            ) from None
        return cls(network.to(device).eval(), tokenizer)


@contextmanager
def _no_bars() -> Iterator[None]:
    """Keep transformers from drawing a bar for a single small file."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def build_captioner(
    shape: CaptionerShape, tokenizer: PreTrainedTokenizerFast, longest: int, labeller: Segmenter | None = None
) -> Captioner:
    """Return an untrained captioner.

    Args:
        tokenizer: see :func:`train_tokenizer`. longest: most tokens of a caption.
        labeller: trained segmenter of the shape's architecture and encoder, whose weights the encoder takes.

    Raises:
        GroundsynthError: an encoder that does not exist, a width that is no multiple of 32, or a labeller of
            another shape.
    """
    if shape.width % 32:
        raise GroundsynthError(f"width = {shape.width} is no multiple of 32; a head has 32 numbers")
    encoder = ChipEncoderConfig(
        shape.architecture, shape.encoder, shape.reads_map, shape.grid, shape.width
    )  # fmt: skip
    marks = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    decoder = GPT2Config(
        vocab_size=len(tokenizer), n_positions=longest + 1, n_embd=shape.width, n_layer=shape.layers,
        n_head=shape.width // 32, n_inner=2 * shape.width, activation_function="relu", attn_pdrop=0.0,
        embd_pdrop=DROPOUT, resid_pdrop=DROPOUT, is_decoder=True, add_cross_attention=True,
        bos_token_id=marks["bos_token_id"], eos_token_id=marks["eos_token_id"], pad_token_id=None,
    )  # fmt: skip
    config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder)
    config.decoder_start_token_id, config.pad_token_id = marks["bos_token_id"], marks["pad_token_id"]
    network = VisionEncoderDecoderModel(config)
    network.generation_config.update(decoder_start_token_id=marks["bos_token_id"], **marks)
    if labeller is not None:
        _take_over(network.encoder, labeller)
    return Captioner(network, tokenizer)


def _take_over(encoder: ChipEncoder, labeller: Segmenter) -> None:
    own = encoder.segmenter.state_dict()
    dropped = () if encoder.config.reads_map else ("network.decoder.", "network.segmentation_head.")
    given = {n: tensor for n, tensor in labeller.state_dict().items() if not n.startswith(dropped)}
    if given.keys() != own.keys() or any(given[name].shape != own[name].shape for name in own):
        raise GroundsynthError(
            "the labeller is of another architecture or encoder than the captioner's; give both the same"
        )
    encoder.segmenter.load_state_dict(given)
