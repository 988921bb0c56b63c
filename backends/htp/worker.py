"""One call of QNN in a process of its own: `python -m mdcompiler.backends.htp.worker FOLDER`

The vendor's libraries stay out of the caller's process: they print, take minutes where they do not like a network, and
a fault of theirs ends this process alone. FOLDER holds `job.json`:

    {"do": "compile", "model": "network.onnx", "out": "model.onnx", "options": {"htp_arch": "73", …}}
    {"do": "run", "model": "model.onnx"}, with the inputs in `inputs.npz`; the outputs go to `outputs.npz`

A failure is told on stderr, with exit status 1.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from mdcompiler.telemetry import onnx_runtime

_PROVIDER = "QNNExecutionProvider"
_ERRORS_ONLY = 3


def main(folder: Path) -> None:
    """Do the job in `folder`."""
    job = json.loads((folder / "job.json").read_text())
    if job["do"] == "compile":
        _compile(folder, job["model"], job["out"], job["options"])
    else:
        _run(folder, job["model"])


def _compile(folder: Path, model: str, out: str, options: dict[str, str]) -> None:
    session_entries = {
        "ep.context_enable": "1",
        "ep.context_file_path": str(folder / out),
        "ep.context_embed_mode": "0",
    }
    # as bytes: of a file's path QNN makes a name in the binary, which would be another one every time
    _open((folder / model).read_bytes(), session_entries, options)


def _run(folder: Path, model: str) -> None:
    session = _open(str(folder / model), {}, {})
    with np.load(folder / "inputs.npz", allow_pickle=False) as inputs:
        # npz names its members like files, so the names of tensors go by order
        feeds = {item.name: inputs[f"a{index}"] for index, item in enumerate(session.get_inputs())}
    outputs = session.run(None, feeds)
    np.savez(folder / "outputs.npz", **{f"a{index}": array for index, array in enumerate(outputs)})


def _open(model: str | bytes, entries: dict[str, str], options: dict[str, str]) -> Any:
    """A session in which HTP takes every node; without its consent there is none."""
    import onnxruntime_qnn

    onnxruntime = onnx_runtime()

    onnxruntime.set_default_logger_severity(_ERRORS_ONLY)
    onnxruntime.register_execution_provider_library(_PROVIDER, onnxruntime_qnn.get_library_path())
    device = next(item for item in onnxruntime.get_ep_devices() if item.ep_name == _PROVIDER)
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = _ERRORS_ONLY
    settings.intra_op_num_threads = 1
    for key, value in {"session.disable_cpu_ep_fallback": "1", **entries}.items():
        settings.add_session_config_entry(key, value)
    backend = {"backend_path": onnxruntime_qnn.get_qnn_htp_path()}
    settings.add_provider_for_devices([device], {**backend, **options})
    return onnxruntime.InferenceSession(model, settings)


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except Exception as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(1)
