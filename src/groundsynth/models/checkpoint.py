"""Checkpoints of a training: everything that moves, written whole, read back or begun again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm

from groundsynth.artifacts import atomic_path


def save_checkpoint(path: Path, step: int, log: list[dict], spent: float, **parts: Any) -> None:
    """Write a checkpoint, atomically.

    Args:
        step: finished steps.
        log: logged losses so far.
        spent: seconds so far.
        parts: what has a ``state_dict``, by name: model, optimiser, average.
    """
    state = {"step": step, "log": log, "spent": spent, "rng": torch.get_rng_state()}
    with atomic_path(path) as temporary:
        torch.save(state | {name: part.state_dict() for name, part in parts.items()}, temporary)


def resume_checkpoint(path: Path, device: torch.device, **parts: Any) -> tuple[int, list[dict], float]:
    """Load a checkpoint into ``parts`` and return finished steps, log and seconds: (0, [], 0.0) without one.

    A checkpoint that cannot be read is told, and training begins again.
    """
    if not path.is_file():
        return 0, [], 0.0
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except Exception:
        tqdm.write(f"{path.name}: checkpoint not readable; training starts again")
        return 0, [], 0.0
    for name, part in parts.items():
        part.load_state_dict(state[name])
        if hasattr(part, "shadow_params"):  # an average keeps its tensors where they were saved
            part.to(device)
    torch.set_rng_state(state["rng"].cpu())
    tqdm.write(f"resuming at step {state['step']}")
    return state["step"], state["log"], state["spent"]
