"""A captioning network tuned to answer one question about a chip: real or synthetic?

After VLM-DETECT, which tunes an image-text model to give that answer in words: here the captioner of stage 05,
which sees images alone, goes on learning with a caption of one word. How sure it is comes from how likely each
answer is to it, not from the word it would write.
"""

from __future__ import annotations

import numpy as np
import torch
from tqdm.auto import tqdm

from groundsynth.data.turns import turn
from groundsynth.errors import GroundsynthError
from groundsynth.models.captioner import Captioner, encode_captions
from groundsynth.models.captioner_training import train_step
from groundsynth.models.segmenter import rate_factor, to_tensor
from groundsynth.seeds import derive_seed, rng

ANSWERS = {"real": "real", "synthetic": "synthetic"}
RATE = 1e-3  # peak of AdamW
CHIPS = 16  # per step
SCORED = 64  # chips scored together


def tune_to_answer(
    captioner: Captioner, groups: dict[str, np.ndarray], steps: int, seed: int, rate: float = RATE
) -> Captioner:
    """Tune a captioner in place, its encoder included, on as many chips of each group; return it.

    Args:
        groups: (n, h, w, 3) uint8 chips by answer: ``real`` and ``synthetic``.
        rate: peak of AdamW; higher for a captioner that has learned nothing yet.

    Raises:
        GroundsynthError: other groups, or an empty one.
    """
    if set(groups) != set(ANSWERS) or not all(len(images) for images in groups.values()):
        raise GroundsynthError(
            f"a captioner learns to answer {' or '.join(ANSWERS)} and was given {', '.join(groups) or 'nothing'}; give "
            "it chips of both"
        )
    network = captioner.network
    network.requires_grad_(True)
    learning = list(network.parameters())
    optimiser = torch.optim.AdamW(learning, rate, weight_decay=1e-2)
    names = list(ANSWERS)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed("answers", seed))
        for step in tqdm(range(1, steps + 1), desc="answers", mininterval=5, leave=False):
            for group in optimiser.param_groups:
                group["lr"] = rate * rate_factor(step, steps)
            random = rng("answers", seed, step)
            truth = [names[k % 2] for k in range(CHIPS)]
            chips = [groups[name][random.integers(len(groups[name]))] for name in truth]
            images = np.stack([turn(chip, int(random.integers(8))) for chip in chips])
            train_step(captioner, optimiser, learning, (images, [ANSWERS[n] for n in truth]), 1, step)
    network.eval()
    return captioner


@torch.inference_mode()
def answer_scores(captioner: Captioner, images: np.ndarray) -> np.ndarray:
    """Return how much likelier the answer *synthetic* is than *real*, (n,) float: the difference of log-likelihoods.

    Args:
        images: (n, h, w, 3) uint8.
    """
    found = []
    for start in range(0, len(images), SCORED):
        part = to_tensor(images[start : start + SCORED]).to(captioner.network.device)
        tokens = captioner.network.encoder(part).last_hidden_state
        said = [_likelihood(captioner, tokens, ANSWERS[name]) for name in ("synthetic", "real")]
        found.append((said[0] - said[1]).cpu().numpy())
    return np.concatenate(found)


def _likelihood(captioner: Captioner, tokens: torch.Tensor, answer: str) -> torch.Tensor:
    """Return the log-likelihood of an answer given each chip's tokens, (n,)."""
    wanted = encode_captions(captioner.tokenizer, [answer]).to(tokens.device)  # (1, t)
    wanted = wanted.expand(len(tokens), -1)
    logits = captioner.network(encoder_outputs=(tokens,), labels=wanted).logits
    return logits.log_softmax(-1).gather(2, wanted[..., None]).sum((1, 2))
