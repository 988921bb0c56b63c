"""What edgetpu_compiler's log says to an operator, word for word."""

from __future__ import annotations

MAPPED = "Mapped to Edge TPU"
DATA_TYPE = "Operation is working on an unsupported data type"
NOT_SUPPORTED = "Operation not supported"
OLD_VERSION = "Operation version not supported"
DYNAMIC = "Operation is working on a dynamic-sized tensor"
UNSPECIFIED = "Operation is otherwise supported, but not mapped due to some unspecified limitation"
SECOND_SUBGRAPH = "More than one subgraph is not supported"
