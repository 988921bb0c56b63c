"""Architecture specs: a detector as data, the zoo that ships, the space that is searched.

>>> from mdcompiler.spec import count, load_spec
>>> spec = load_spec("mobiledet-cpu")
>>> count(spec).params
4205423
"""

from mdcompiler.spec.build import build_network, weight_shapes
from mdcompiler.spec.counts import BlockCount, Counts, count
from mdcompiler.spec.load import load_spec, parse_spec, zoo_names
from mdcompiler.spec.model import Spec, json_schema
from mdcompiler.spec.network import Network, PlacedBlock
from mdcompiler.spec.search_space import SearchSpace

__all__ = [
    "BlockCount",
    "Counts",
    "Network",
    "PlacedBlock",
    "SearchSpace",
    "Spec",
    "build_network",
    "count",
    "json_schema",
    "load_spec",
    "parse_spec",
    "weight_shapes",
    "zoo_names",
]
