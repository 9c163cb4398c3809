"""A pretrained text-to-image pipeline of the Stable Diffusion class, from a folder or the model hub."""

from __future__ import annotations

import json
import re
from pathlib import Path

from diffusers import StableDiffusionPipeline

from groundsynth.errors import GroundsynthError

CLASS = "StableDiffusionPipeline"
INDEX = "model_index.json"


def load_pipeline(base: str, offline: bool = False) -> StableDiffusionPipeline:
    """Load a pipeline in single precision, without safety checker: satellite images are all it draws here.

    Args:
        base: a folder written by ``save_pretrained``, or a hub name ``owner/model``.
        offline: never touch the network.

    Raises:
        GroundsynthError: no such folder, not such a pipeline, or a hub that cannot be reached.
    """
    folder = Path(base).expanduser()
    if folder.is_dir():
        _check_index(folder)
    elif not re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", base):
        raise GroundsynthError(
            f"adapt.base '{base}': no such folder; name one that holds {INDEX}, or a hub name such as owner/model"
        )
    try:
        return StableDiffusionPipeline.from_pretrained(
            folder if folder.is_dir() else base,
            safety_checker=None,
            requires_safety_checker=False,
            local_files_only=offline or folder.is_dir(),
        )
    except Exception as error:  # whatever the libraries between here and the network raise
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        if folder.is_dir():
            raise GroundsynthError(f"{folder}: not a usable pipeline ({reason}); save it again") from None
        raise GroundsynthError(
            f"adapt.base '{base}' is no folder here and could not be fetched from the model hub ({reason}); "
            "download it where there is a network and name its folder"
        ) from None


def describe_architecture(pipe: StableDiffusionPipeline) -> dict:
    """Return what a pipeline must share with another so that an adapter fits both, as plain JSON values."""
    found = {
        "text": pipe.text_encoder.config.hidden_size,
        "attention": pipe.unet.config.cross_attention_dim,
        "channels": pipe.unet.config.block_out_channels,
        "latent": pipe.unet.config.in_channels,
    }
    return json.loads(json.dumps(found))  # tuples as lists, as a record on disk has them


def native_size(pipe: StableDiffusionPipeline) -> int:
    """Return the side in pixels of the images a pipeline was made for."""
    return pipe.unet.config.sample_size * pipe.vae_scale_factor


def context_length(pipe: StableDiffusionPipeline) -> int:
    """Return the number of tokens the text encoder reads, its two end marks included."""
    return min(pipe.tokenizer.model_max_length, pipe.text_encoder.config.max_position_embeddings)


def count_tokens(pipe: StableDiffusionPipeline, prompt: str) -> int:
    """Return the length of a prompt in tokens, end marks included."""
    return len(pipe.tokenizer(prompt, truncation=False, verbose=False).input_ids)


def check_prompts(pipe: StableDiffusionPipeline, prompts: list[str]) -> None:
    """Stop at a prompt that is empty or longer than the text encoder reads.

    Raises:
        GroundsynthError: the prompt's number, length and limit.
    """
    longest = context_length(pipe)
    for number, prompt in enumerate(prompts, start=1):
        if not prompt.strip():
            raise GroundsynthError(f"prompt {number} is empty; say what the image shows")
        tokens = count_tokens(pipe, prompt)
        if tokens > longest:
            raise GroundsynthError(
                f"prompt {number} has {len(prompt):,} characters, {tokens:,} tokens; the text encoder reads "
                f"{longest}: shorten it"
            )


def fit_caption(pipe: StableDiffusionPipeline, caption: str) -> str:
    """Return as many whole sentences of a caption, from the first, as the text encoder reads.

    The first sentence stays even if it is too long alone; the tokenizer then cuts it.
    """
    sentences = re.split(r"(?<=[.!?])\s+", caption.strip())
    while len(sentences) > 1 and count_tokens(pipe, " ".join(sentences)) > context_length(pipe):
        sentences.pop()
    return " ".join(sentences)


def _check_index(folder: Path) -> None:
    try:
        found = json.loads((folder / INDEX).read_text()).get("_class_name")
    except (OSError, ValueError, AttributeError):
        raise GroundsynthError(
            f"{folder}: not a diffusers pipeline, there is no readable {INDEX}; name a folder written by save_pretrained"
        ) from None
    if found != CLASS:
        raise GroundsynthError(f"{folder}: holds a {found}; adapt takes a {CLASS} (version 1 or 2)")
