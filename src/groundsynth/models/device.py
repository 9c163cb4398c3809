"""Which device a model runs on."""

from __future__ import annotations

import torch

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
