"""Which device a model runs on."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from groundsynth.errors import GroundsynthError


def pick_device(device: str = "auto") -> torch.device:
    """Return the device to compute on: ``auto`` is a GPU when there is one, else the CPU.

    Raises:
        GroundsynthError: ``cuda`` is asked for where there is none.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise GroundsynthError("device 'cuda' is not there; use device: auto or device: cpu")
    return torch.device(device)


def describe_device(device: torch.device) -> str:
    """Return what a manifest should say, such as ``cpu (2 threads)`` or the GPU's name."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"cpu ({torch.get_num_threads()} threads)"


def training_type(device: torch.device, precision: str = "auto") -> torch.dtype:
    """Return what convolutions and products of a training are computed in: float32 or bfloat16.

    ``auto`` takes bfloat16 where the device multiplies in it, which halves the time of a step and changes its
    result in the third digit; weights, losses and samples stay float32.

    Args:
        precision: ``auto``, ``float32`` or ``bfloat16``.
    """
    if precision != "auto":
        return getattr(torch, precision)
    if device.type == "cuda":
        able = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        able = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if able else torch.float32


def plain_attention(device: torch.device) -> AbstractContextManager:
    """Return the context in which a training's forward passes attend.

    The kernel that torch takes on a CPU is made for long sequences: its backward pass over 64 tokens took five
    times as long as plain matrix products do. Elsewhere torch chooses.
    """
    return sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()
