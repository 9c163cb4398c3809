"""Certificates and keys as files, made anew for each test and never kept."""

from __future__ import annotations

from pathlib import Path

from groundsynth.data.trial_certificate import make_trial_credential


def make_credential(folder: Path, who: str = "tester", purpose: bool = True) -> tuple[Path, Path, Path]:
    """Write an authority, and a leaf that may sign manifests; return chain, key and the authority.

    Args:
        purpose: False leaves out the extended key usage, which C2PA does not accept.
    """
    credential, anchor = make_trial_credential(who, purpose)
    folder.mkdir(parents=True, exist_ok=True)
    chain, key, top = (folder / f"{who}.{kind}.pem" for kind in ("chain", "key", "anchor"))
    chain.write_bytes(credential.chain)
    key.write_bytes(credential.key)
    top.write_text(anchor)
    return chain, key, top
