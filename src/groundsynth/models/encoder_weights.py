"""Weights an encoder may start from: a file on this disk, or a repository of the Hugging Face hub.

They are an option and never needed: without a network, or with ``weights: null``, every network
starts from random numbers.
"""

from __future__ import annotations

from pathlib import Path

import safetensors.torch
import torch
from torch import nn

from groundsynth.errors import GroundsynthError

FILES = (".safetensors", ".pt", ".pth", ".bin")
PREFIXES = ("", "network.encoder.", "encoder.", "module.", "backbone.")
CURE = "name a file or hub repository that holds this encoder's weights, or set weights: null"


def load_encoder(model: nn.Module, source: str) -> None:
    """Fill ``model.network.encoder`` with published weights; its decoder stays as it is.

    Args:
        source: a file ending in .safetensors, .pt, .pth or .bin, or a hub repository ``owner/name``
            with a ``model.safetensors``, e.g. ``smp-hub/resnet18.imagenet``.

    Raises:
        GroundsynthError: nothing there, not readable, or weights of another network.
    """
    encoder = model.network.encoder
    state, wanted = read_weights(source), encoder.state_dict()
    for inner in ("", "model."):  # encoders of timm are wrapped as 'model'
        for prefix in PREFIXES:
            found = {name: state.get(prefix + name.removeprefix(inner)) for name in wanted}
            if _fits(found, wanted):
                encoder.load_state_dict(found)
                return
    missing = [name for name in wanted if name not in state] or ["shapes that differ"]
    raise GroundsynthError(
        f"weights '{source}' do not fit the encoder ({len(missing)} of {len(wanted)} tensors are missing, "
        "such "
        f"as {missing[0]}); {CURE}"
    )


def _fits(found: dict[str, torch.Tensor | None], wanted: dict[str, torch.Tensor]) -> bool:
    return all(tensor is not None and tensor.shape == wanted[name].shape for name, tensor in found.items())


def read_weights(source: str) -> dict[str, torch.Tensor]:
    """Return the tensors of a file or hub repository by name."""
    path = Path(source).expanduser()
    if path.suffix not in FILES:
        path = _fetch(source)
    elif not path.is_file():
        raise GroundsynthError(f"weights '{source}': no such file; {CURE}")
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
        return state.get("state_dict", state)
    except Exception as error:  # damaged files fail in many ways
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise GroundsynthError(f"weights '{source}': not readable ({reason}); {CURE}") from None


def _fetch(source: str) -> Path:
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(source, "model.safetensors"))
    except Exception as error:  # no network, no such repository, a wrong name: all have one cure
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise GroundsynthError(
            f"weights '{source}' cannot be fetched from the hub ({reason}); {CURE}"
        ) from None
