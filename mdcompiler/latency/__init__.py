"""Predicted latency of a detector on chips that are not here, block by block, and tables of it for a search.

    spec -> blocks -> work of every operation -> roofline of the chip -> calibration -> microseconds

A chip is a YAML file of published numbers (`chips/`); latencies that others measured are another
(`published.yaml`). `mdcompiler.latency.accuracy` says how far off the predictions are.

>>> from mdcompiler.latency import predict
>>> from mdcompiler.spec import load_spec
>>> prediction = predict(load_spec("mobiledet-edgetpu"), "pixel4-edgetpu")
>>> len(prediction.blocks), 4 < prediction.total_ms < 10
(33, True)
"""

from mdcompiler.latency.chip import Chip, find_chip, shipped_chips
from mdcompiler.latency.predict import Prediction, predict
from mdcompiler.latency.table import Table, read_table

__all__ = ["Chip", "Prediction", "Table", "find_chip", "predict", "read_table", "shipped_chips"]
