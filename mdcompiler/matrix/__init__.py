"""Networks by targets: every pair compiled, run where that can be done here, and one report over all.

    specs x targets -> quantized once a scheme -> artifacts -> compared with the reference -> table, JSON, HTML

A pair that fails is a row with its reason, and the others go on. A folder can be gone on with: what is in it and
would come out the same is not made again.
"""

from mdcompiler.matrix.options import MatrixOptions
from mdcompiler.matrix.report import BlockRow, Matrix, PairRow
from mdcompiler.matrix.run import run_matrix
from mdcompiler.matrix.write import write_reports

__all__ = ["BlockRow", "Matrix", "MatrixOptions", "PairRow", "run_matrix", "write_reports"]
