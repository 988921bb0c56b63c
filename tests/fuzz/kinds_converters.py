"""Files that other toolkits wrote: `.tflite` networks and TensorFlow checkpoints."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Sequence
from pathlib import Path

from mdcompiler.spec import weight_shapes
from mdcompiler.weights import fit_spec, seeded_weights, weights_for
from tests.fuzz.kind import Kind
from tests.fuzz.mutate_bytes import mutate_bytes
from tests.weights.small_spec import small_spec
from tests.weights.test_tf1 import as_tf1
from tests.weights.tf1_writer import write_checkpoint
from tests.weights.tflite_writer import TfliteWriter

_SHARD = "m.data-00000-of-00001"


@functools.cache
def _networks() -> Sequence[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "m.tflite")
        found = []
        for dtype in ("uint8", "int8", "float16"):
            TfliteWriter(small_spec(), dtype).save(file)
            found.append(file.read_bytes())
    return found


@functools.cache
def _checkpoint() -> tuple[list[bytes], bytes]:
    """Two indexes, plain and packed, and the shard that both speak of."""
    tensors = as_tf1(seeded_weights(weight_shapes(small_spec())))
    with tempfile.TemporaryDirectory() as folder:
        prefix = Path(folder, "m")
        indexes = []
        for packed in (False, True):
            write_checkpoint(prefix, tensors, snappy=packed)
            indexes.append(prefix.with_name("m.index").read_bytes())
        return indexes, prefix.with_name(_SHARD).read_bytes()


def _read_network(file: Path) -> object:
    return weights_for(fit_spec(small_spec(), file).spec, file)


def _read_index(file: Path) -> object:
    file.with_name(_SHARD).write_bytes(_checkpoint()[1])
    return weights_for(small_spec(), file)


def _read_shard(file: Path) -> object:
    index = file.with_name("m.index")
    index.write_bytes(_checkpoint()[0][0])
    return weights_for(small_spec(), index)


KINDS = (
    Kind("tflite", "m.tflite", _networks, mutate_bytes, _read_network, 20),
    Kind("checkpoint-index", "m.index", lambda: _checkpoint()[0], mutate_bytes, _read_index, 30),
    Kind("checkpoint-shard", _SHARD, lambda: [_checkpoint()[1]], mutate_bytes, _read_shard, 10),
)
