"""The kernel the runner starts: ``python -m groundsynth.workflow.kernel -f <connection file>``.

It is IPython's own kernel with three things set up first: it dies with the runner, its progress
bars are plain text (``tqdm.auto`` chooses bars when it is imported, and a log file cannot show
widgets), and after every cell it writes down which device was really used: a kernel that is
slow to leave is killed, so its last act would not always be done.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

DEVICE_FILE = "GROUNDSYNTH_DEVICE_FILE"


def record_device(*_: object) -> None:
    """Write the device this process computed on, as JSON, to the file named by ``DEVICE_FILE``."""
    torch = sys.modules.get("torch")
    on_gpu = torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized()
    device = torch.cuda.get_device_name() if on_gpu else "cpu"
    gpu_mb = torch.cuda.max_memory_allocated() / 2**20 if on_gpu else 0
    Path(os.environ[DEVICE_FILE]).write_text(json.dumps({"device": device, "peak_gpu_mb": round(gpu_mb)}))


def main() -> None:
    """Start the kernel; returns when it is told to shut down."""
    import tqdm.auto  # noqa: F401
    from ipykernel.kernelapp import IPKernelApp

    from groundsynth.workflow.process_watch import die_with_parent

    die_with_parent()
    app = IPKernelApp.instance()
    app.initialize()
    app.shell.events.register("post_run_cell", record_device)  # done before the cell's reply is sent
    app.start()


if __name__ == "__main__":
    main()
