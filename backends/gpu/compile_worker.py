"""The child process of `build_kernels`: reads kernel sources from stdin, answers with shaders and their launches.

Messages as in `clib.compile_worker`. The sources come pickled from the parent that started this process, and from
nobody else.
"""

from __future__ import annotations

import json
import pickle
from dataclasses import asdict

from mdcompiler.backends.clib.compile_worker import serve


def _answer(message: bytes) -> bytes:
    from mdcompiler.backends.gpu.compile import shader_text
    from mdcompiler.backends.gpu.launch import launch_of

    source, fields = pickle.loads(message)  # noqa: S301 - written by our own parent, see above
    try:
        function = source.write()
        launch = launch_of(function)
        answer = {"code": shader_text(function, fields, launch), **asdict(launch)}
    except Exception as error:
        return b"-" + repr(error).encode()
    return b"+" + json.dumps(answer).encode()


if __name__ == "__main__":
    serve(_answer)
