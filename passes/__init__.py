"""The passes that come with the toolkit, in the order in which they run.

Each line says why the pass stands where it does. A plug-in's pass runs at the end of the stage it names,
before the backend's own passes of that stage.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mdcompiler.compile_pass import Pass
from mdcompiler.passes.fold_activation import FoldActivation
from mdcompiler.passes.fold_batchnorm import FoldBatchnorm
from mdcompiler.passes.fold_constants import FoldConstants
from mdcompiler.passes.fold_pad import FoldPad
from mdcompiler.passes.fuse_activation import FuseActivation
from mdcompiler.passes.fuse_head import FuseHead
from mdcompiler.passes.fuse_preprocessing import FusePreprocessing
from mdcompiler.passes.fuse_residual import FuseResidual
from mdcompiler.passes.fuse_squeeze_excite import FuseSqueezeExcite
from mdcompiler.passes.lower_auto_pad import LowerAutoPad
from mdcompiler.passes.lower_mean import LowerMean
from mdcompiler.passes.mark_kernels import MarkKernels
from mdcompiler.passes.move_sigmoid import MoveSigmoid
from mdcompiler.passes.remove_identity import RemoveIdentity

if TYPE_CHECKING:
    from mdcompiler.accuracy import Limits
    from mdcompiler.module import Module
    from mdcompiler.passes.assign_precision import WhyNot
    from mdcompiler.progress import Progress
    from mdcompiler.quantization.options import Quantize


def builtin_passes() -> tuple[Pass, ...]:
    """One of each, with default options, in order."""
    return (
        # simplify: fewer, plainer nodes; only names of nodes that stay are kept
        FoldConstants(),  # first, so that every parameter below is a constant that can be read
        RemoveIdentity(),  # nothing may stand between a convolution and what folds into it
        LowerMean(),  # exporters spell global pooling as ReduceMean; later passes know GlobalAveragePool
        LowerAutoPad(),  # padding as numbers, which fold-pad adds to
        FoldPad(),  # before batch normalisation: Conv is then the reader of plain data
        FoldBatchnorm(),  # into weights; what has no convolution before it becomes Mul and Add
        FoldActivation(),  # activations spelled as several nodes become one
        # fuse: only attributes change; each pass claims nodes that no earlier one claimed
        FusePreprocessing(),  # the picture's bytes are read by the stem convolution
        FuseSqueezeExcite(),  # before activations: the gate is no activation of a convolution
        FuseActivation(),  # convolution and activation
        FuseResidual(),  # then the sum, with the activation after it
        FuseHead(),  # what is left after a linear convolution: transpose and reshape
        MarkKernels(),  # last: everything else is a kernel of its own
    )


def quantization_passes(module: Module, options: Quantize, why_not: WhyNot, progress: Progress) -> tuple[Pass, ...]:
    """What precision int8 adds to the quantize stage. why_not: the backend's, for kernels of other precisions.

    Raises InputError for calibration data or annotations that cannot be used.
    """
    from mdcompiler.accuracy import open_annotated
    from mdcompiler.calibration import open_samples
    from mdcompiler.passes.quantize_calibrated import QuantizeCalibrated

    annotations, calibration = options.annotations, options.calibration
    quantize = QuantizeCalibrated(
        open_samples(calibration, module, options.samples),
        options.ranges,
        options.methods,
        options.precision,
        limits=_limits(options),
        annotated=None if annotations is None else open_annotated(annotations, calibration, module),
        compared=options.compared,
        choose=options.max_loss is not None,
        budget=options.budget,
        why_not=why_not,
        report=options.report,
        allow_degraded=options.allow_degraded,
        progress=progress,
    )
    return (
        MoveSigmoid(),  # before calibration: every level of a head then has a range of its own
        quantize,
    )


def _limits(options: Quantize) -> Limits:
    from mdcompiler.accuracy import Limits

    if options.max_loss is None:
        return Limits()
    if options.annotations is not None:
        return Limits(map_points=options.max_loss)
    return Limits(lost_share=options.max_loss / 100)
