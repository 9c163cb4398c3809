"""What a sample is asked for in words and numbers: token states of a caption, and class shares.

A caption comes as the token states of a frozen sentence encoder, class shares as one token per class. The
denoiser attends to all of them, and a summary of them joins the noise level in every residual block. Either may be
missing; a learned token then stands in its place, so that "nothing was said" is not read as "nothing there".
Where chips come from several scenes, sensor, season and place are one token each.

Where a caption comes without numbers, a small reader guesses the class shares from its words, and they are heard
the way numbers are. It learns from the shares of the chips that captions describe: through the denoiser's loss
alone, few thousand steps did not teach a generator to listen to words.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import nn

from groundsynth.data.scene_origins import ORIGIN, Names
from groundsynth.errors import GroundsynthError
from groundsynth.legend import NUM_CLASSES

TEXT_WIDTH = 384  # of a token state of the sentence encoder
CONDITION_WIDTH = 128  # of a token that the denoiser attends to
KINDS = ("none", "shares", "text", "both")  # what a training may see
READER_WIDTH, READER_HEADS = 64, 4
ONE_OF_TWO = 0.35  # where both are known: share that is shown the text alone, and the shares alone
NOT_FROM = 0.2  # share of what is told something that is not told where it is from


@dataclass(frozen=True)
class Conditions:
    """What n samples are asked for.

    Attributes:
        tokens: (n, length, 384) float token states; rows beyond a text's length mean nothing.
        lengths: (n,) int tokens of each text; 0 where there is none.
        shares: (n, 7) class shares that sum to 1; a row of NaN where there are none.
        origin: (n, 3) int codes of sensor, season and place (see ``data.scene_origins``); 0 where nothing is said.
    """

    tokens: torch.Tensor
    lengths: torch.Tensor
    shares: torch.Tensor
    origin: torch.Tensor

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, rows: slice | torch.Tensor) -> Conditions:
        return Conditions(*(getattr(self, field.name)[rows] for field in fields(self)))

    @classmethod
    def none(cls, n: int) -> Conditions:
        """Return conditions that ask for nothing."""
        shares = torch.full((n, NUM_CLASSES), torch.nan)
        origin = torch.zeros(n, len(ORIGIN), dtype=torch.long)
        return cls(torch.zeros(n, 1, TEXT_WIDTH), torch.zeros(n, dtype=torch.long), shares, origin)

    def to(self, device: torch.device) -> Conditions:
        """Return the same on a device."""
        return Conditions(*(getattr(self, field.name).to(device) for field in fields(self)))

    def without(self, text: torch.Tensor, shares: torch.Tensor) -> Conditions:
        """Return these with the text and the shares taken from the rows where a (n,) bool says so."""
        return replace(
            self,
            lengths=torch.where(text, 0, self.lengths),
            shares=torch.where(shares[:, None], torch.nan, self.shares),
        )


@dataclass(frozen=True)
class TokenTable:
    """Captions of training chips as token states: one set per turn, since "in the north" turns with its map.

    Attributes:
        states: (texts, length, 384) float16, every different text once.
        lengths: (texts,) int tokens of each.
        index: (chips, 8, wordings) int: which text describes a chip under turn code 0…7.
    """

    states: np.ndarray
    lengths: np.ndarray
    index: np.ndarray

    def draw(
        self, rows: torch.Tensor, turns: torch.Tensor, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return token states (n, length, 384) float32 and lengths (n,) of one wording per turned chip."""
        wording = torch.randint(self.index.shape[2], (len(rows),), generator=generator)
        texts = self.index[rows.numpy(), turns.numpy(), wording.numpy()]
        return torch.from_numpy(self.states[texts].astype(np.float32)), torch.from_numpy(self.lengths[texts])

    def shuffled(self, seed: int) -> TokenTable:
        """Return the control: every chip with the captions of another one."""
        n = len(self.index)
        order = np.random.default_rng(seed).permutation(n)
        partner = np.empty(n, dtype=int)
        partner[order] = np.roll(order, 1)  # one cycle: nobody keeps its own
        return replace(self, index=self.index[partner])

    def digest(self) -> bytes:
        """Return a hash of everything in it."""
        found = hashlib.sha256()
        for field in fields(self):
            found.update(np.ascontiguousarray(getattr(self, field.name)))
        return found.digest()


def check_conditions(conditions: Conditions, n: int, kind: str, names: Names = ()) -> None:
    """Stop unless a generator that was trained with ``kind`` and knows ``names`` of origins can be asked for these.

    Raises:
        GroundsynthError: another number of conditions than samples, shares that are no shares, or a kind of
            condition, or an origin, that the generator never saw.
    """
    if len(conditions) != n:
        raise GroundsynthError(f"{len(conditions)} conditions do not fit {n} samples; give one for each")
    given = ~conditions.shares.isnan().all(1)
    shares = conditions.shares[given]
    wrong = shares.isnan().any(1) | (shares < 0).any(1) | ((shares.sum(1) - 1).abs() > 1e-3)
    if wrong.any():
        worst = shares[wrong][0]
        raise GroundsynthError(
            f"shares {[round(float(s), 3) for s in worst]} sum to {float(worst.sum()):g}; {NUM_CLASSES} class shares "
            "are numbers from 0 to 1 that sum to 1"
        )
    for name, asked in (("text", bool((conditions.lengths > 0).any())), ("shares", bool(given.any()))):
        if asked and kind not in (name, "both"):
            raise GroundsynthError(
                f"this generator was trained with conditions '{kind}' and reads no {name}; train one with "
                f"generator.conditions '{name}' or 'both'"
            )
    for field, codes, known in zip(ORIGIN, conditions.origin.T, names or [()] * len(ORIGIN), strict=True):
        if codes.max() > len(known):
            raise GroundsynthError(
                f"{field} number {int(codes.max())} is asked for, and this generator knows {len(known)} of them; ask "
                "for one that it was trained on, or for none"
            )


def drop_conditions(
    conditions: Conditions, kind: str, told: torch.Tensor, generator: torch.Generator
) -> Conditions:
    """Return what a training batch is shown of what is known of its chips.

    Args:
        kind: ``shares``, ``text`` or ``both``.
        told: (n,) bool, rows that are shown any.
    """
    part = torch.rand(len(conditions), generator=generator)
    no_text = ~told | (kind == "shares") | ((kind == "both") & (part < ONE_OF_TWO))
    no_shares = ~told | (kind == "text") | ((kind == "both") & (part > 1 - ONE_OF_TWO))
    shown = conditions.without(no_text, no_shares)
    if not conditions.origin.any():  # one scene, or several that nothing tells apart
        return shown
    silent = ~told | (torch.rand(len(conditions), generator=generator) < NOT_FROM)
    return replace(shown, origin=torch.where(silent[:, None], 0, shown.origin))


class ShareReader(nn.Module):
    """Reads class shares off the token states of a caption.

    The tokens look at one another once, so that an amount finds its class; then each class looks for what
    was said of it.

    Args:
        width: of its tokens.
    """

    def __init__(self, width: int = READER_WIDTH):
        super().__init__()
        self.narrow = nn.Sequential(nn.LayerNorm(TEXT_WIDTH), nn.Linear(TEXT_WIDTH, width))
        self.look = nn.TransformerEncoderLayer(
            width, READER_HEADS, 2 * width, dropout=0.0, batch_first=True, norm_first=True
        )
        self.asked = nn.Parameter(torch.randn(NUM_CLASSES, width) * 0.1)
        self.find = nn.MultiheadAttention(width, READER_HEADS, batch_first=True)
        self.amount = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 1))

    def forward(self, tokens: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Return logits of the class shares (n, 7); those of a text without tokens mean nothing.

        Args:
            tokens: (n, length, 384) token states.
            lengths: (n,) tokens of each text.
        """
        place = torch.arange(tokens.shape[1], device=tokens.device)
        empty = place >= lengths.clamp(min=1)[:, None]
        states = self.look(self.narrow(tokens), src_key_padding_mask=empty)
        asked = self.asked.expand(len(tokens), -1, -1)
        found, _ = self.find(asked, states, states, key_padding_mask=empty, need_weights=False)
        return self.amount(found + asked)[..., 0]

    def fill(self, conditions: Conditions, logits: torch.Tensor | None = None) -> Conditions:
        """Return the same with the shares that are read where there is a text without any.

        Args:
            logits: what this reader says of these texts, if it has read them already.
        """
        wanting = conditions.shares.isnan() & (conditions.lengths > 0)[:, None]
        if not wanting.any():
            return conditions
        if logits is None:
            logits = self(conditions.tokens, conditions.lengths)
        read = logits.detach().float().softmax(1)
        return replace(conditions, shares=torch.where(wanting, read, conditions.shares))


def reading_loss(logits: torch.Tensor, conditions: Conditions) -> torch.Tensor:
    """Return the mean cross-entropy of shares that were read, (n, 7) logits, against given ones.

    Rows without a text, or without shares, do not count.
    """
    true = conditions.shares
    both = (conditions.lengths > 0) & ~true.isnan().any(1)
    each = -(true.nan_to_num(0.0) * logits.float().log_softmax(1)).sum(1)
    return torch.where(both, each, 0.0).sum() / both.sum().clamp(min=1)


class ConditionTokens(nn.Module):
    """Turns conditions into the tokens that a denoiser attends to, and a summary of them.

    Args:
        width: of a token.
        names: sensors, seasons and places that tell its chips apart; () where nothing does.
    """

    def __init__(self, width: int = CONDITION_WIDTH, names: Names = ()):
        super().__init__()
        self.text = nn.Sequential(nn.LayerNorm(TEXT_WIDTH), nn.Linear(TEXT_WIDTH, width))
        self.no_text = nn.Parameter(torch.zeros(width))
        self.share = nn.Sequential(nn.Linear(2, width), nn.SiLU(), nn.Linear(width, width))
        self.no_share = nn.Parameter(torch.zeros(width))
        self.classes = nn.Parameter(torch.randn(NUM_CLASSES, width) * 0.1)
        self.all_shares = nn.Linear(2 * NUM_CLASSES + 1, width)
        self.pooled = nn.Sequential(nn.Linear(2 * width, width), nn.SiLU(), nn.Linear(width, width))
        self.origin = nn.ModuleList(nn.Embedding(len(known) + 1, width) for known in names)
        with torch.no_grad():
            for table in self.origin:
                table.weight.mul_(0.1)

    def forward(self, conditions: Conditions) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return tokens (n, 1 + length + 7 (+ 3), width), which of them count (n, …) bool, and a summary (n, width)."""
        n, length = conditions.tokens.shape[:2]
        place = torch.arange(length, device=conditions.tokens.device)
        there = place < conditions.lengths[:, None]  # (n, length)
        text = self.text(conditions.tokens) * there[..., None]
        spoken = (conditions.lengths > 0)[:, None]
        mean = text.sum(1) / conditions.lengths.clamp(min=1)[:, None]
        head = torch.where(spoken, mean, self.no_text)  # one token that says whether there is a text
        given = ~conditions.shares.isnan()
        share = conditions.shares.nan_to_num(0.0)
        numbers = self.share(torch.stack([share, share.sqrt()], dim=-1))
        numbers = torch.where(given[..., None], numbers, self.no_share) + self.classes
        tokens = torch.cat([head[:, None], text, numbers], dim=1)
        always = torch.ones(n, 1, dtype=torch.bool, device=there.device)
        counted = torch.cat([always, there, always.expand(n, NUM_CLASSES)], dim=1)
        # a mean over tokens would not say which class has which share
        vector = self.all_shares(torch.cat([share, share.sqrt(), given[:, :1].to(share.dtype)], dim=1))
        summary = self.pooled(torch.cat([head, vector], dim=1))
        if not self.origin:
            return tokens, counted, summary
        parts = [table(conditions.origin[:, k]) for k, table in enumerate(self.origin)]
        where = torch.stack(parts, dim=1).to(tokens.dtype)
        tokens = torch.cat([tokens, where], dim=1)
        return tokens, torch.cat([counted, always.expand(n, len(parts))], dim=1), summary + where.sum(1)
