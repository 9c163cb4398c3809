"""Which kernel the runner starts: always the running interpreter's own, on private sockets."""

from __future__ import annotations

import sys
from pathlib import Path

from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager


def kernel_class(private: Path, environment: dict[str, str]) -> type[AsyncKernelManager]:
    """Return a manager class whose kernels run this interpreter, whatever a notebook names.

    Args:
        private: folder only this user can open; the kernel's sockets are files in it.
        environment: variables added to the kernel's own.
    """
    command = [sys.executable, "-m", "groundsynth.workflow.kernel", "-f", "{connection_file}"]
    spec = KernelSpec(
        argv=[*command, "--HistoryManager.enabled=False"],
        display_name="this interpreter",
        language="python",
        env=environment,
    )

    class OwnInterpreter(KernelSpecManager):
        def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
            return spec

    class OwnKernel(AsyncKernelManager):
        def __init__(self, **settings: object) -> None:
            settings |= {"kernel_spec_manager": OwnInterpreter(), "transport": "ipc"}
            super().__init__(
                **settings, ip=str(private / "socket"), connection_file=str(private / "connection.json")
            )

    return OwnKernel
