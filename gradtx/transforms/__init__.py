"""Gradient transformations, one concept a file; and all else of `optax.transforms`.

Where Optax has a name that gradtx has too, it is gradtx's.
"""

from optax import transforms as theirs
from optax.transforms import (
    AddNoiseState,
    ApplyIfFiniteState,
    ConditionallyMaskState,
    ConditionallyTransformState,
    ConditionFn,
    EmaState,
    MaskedNode,
    MaskedState,
    MonitorState,
    MultiSteps,
    MultiStepsState,
    NonNegativeParamsState,
    PartitionState,
    ShouldSkipUpdateFunction,
    SnapshotState,
    TraceState,
    ZeroNansState,
    add_noise,
    conditionally_mask,
    conditionally_transform,
    keep_params_nonnegative,
    measure_with_ema,
    monitor,
    named_chain,
    per_example_global_norm_clip,
    per_example_layer_norm_clip,
    skip_large_updates,
    skip_not_finite,
    snapshot,
    unitwise_clip,
    zero_nans,
)

from gradtx.core.chain import chain
from gradtx.core.freeze import freeze, selective_transform
from gradtx.core.newer_names import newer_names
from gradtx.core.partition import masked, partition
from gradtx.transforms.adadelta import scale_by_adadelta
from gradtx.transforms.adam import scale_by_adam
from gradtx.transforms.adamax import scale_by_adamax
from gradtx.transforms.adaptive_clipping import adaptive_grad_clip, unitwise_norm
from gradtx.transforms.ademamix import scale_by_ademamix
from gradtx.transforms.adopt import scale_by_adopt
from gradtx.transforms.amsgrad import scale_by_amsgrad
from gradtx.transforms.belief import scale_by_belief
from gradtx.transforms.centralize import centralize
from gradtx.transforms.clipping import (
    clip,
    clip_by_block_norm,
    clip_by_block_rms,
    clip_by_global_norm,
    clip_by_value,
)
from gradtx.transforms.learning_rate import (
    scale,
    scale_by_learning_rate,
    scale_by_schedule,
    scale_by_sign,
)
from gradtx.transforms.lion import scale_by_lion
from gradtx.transforms.lookahead import lookahead
from gradtx.transforms.momentum import ema, momentum_of_steps, scale_by_momentum, trace
from gradtx.transforms.muon import scale_by_muon, scale_by_shape
from gradtx.transforms.parameter_average import averaged_params, ema_params
from gradtx.transforms.qhadam import scale_by_qhadam
from gradtx.transforms.radam import scale_by_radam
from gradtx.transforms.rms import scale_by_rms, scale_by_stddev
from gradtx.transforms.rss import scale_by_rss
from gradtx.transforms.schedule_free import schedule_free, schedule_free_eval_params
from gradtx.transforms.soap import scale_by_soap
from gradtx.transforms.stats import (
    Statistic,
    adam_step,
    average_grad,
    average_sqr_grad,
    momentum_step,
    rms_prop_step,
    scale_by_stats,
)
from gradtx.transforms.trust_ratio import scale_by_larc, scale_by_trust_ratio
from gradtx.transforms.weight_decay import add_decayed_weights, add_l2
from gradtx.wrappers.flattening import flatten
from gradtx.wrappers.skipping import apply_if_finite

__all__ = [
    "AddNoiseState",
    "ApplyIfFiniteState",
    "ConditionFn",
    "ConditionallyMaskState",
    "ConditionallyTransformState",
    "EmaState",
    "MaskedNode",
    "MaskedState",
    "MonitorState",
    "MultiSteps",
    "MultiStepsState",
    "NonNegativeParamsState",
    "PartitionState",
    "ShouldSkipUpdateFunction",
    "SnapshotState",
    "Statistic",
    "TraceState",
    "ZeroNansState",
    "adam_step",
    "adaptive_grad_clip",
    "add_decayed_weights",
    "add_l2",
    "add_noise",
    "apply_if_finite",
    "average_grad",
    "average_sqr_grad",
    "averaged_params",
    "centralize",
    "chain",
    "clip",
    "clip_by_block_norm",
    "clip_by_block_rms",
    "clip_by_global_norm",
    "clip_by_value",
    "conditionally_mask",
    "conditionally_transform",
    "ema",
    "ema_params",
    "flatten",
    "freeze",
    "keep_params_nonnegative",
    "lookahead",
    "masked",
    "measure_with_ema",
    "momentum_of_steps",
    "momentum_step",
    "monitor",
    "named_chain",
    "partition",
    "per_example_global_norm_clip",
    "per_example_layer_norm_clip",
    "rms_prop_step",
    "scale",
    "scale_by_adadelta",
    "scale_by_adam",
    "scale_by_adamax",
    "scale_by_ademamix",
    "scale_by_adopt",
    "scale_by_amsgrad",
    "scale_by_belief",
    "scale_by_larc",
    "scale_by_learning_rate",
    "scale_by_lion",
    "scale_by_momentum",
    "scale_by_muon",
    "scale_by_qhadam",
    "scale_by_radam",
    "scale_by_rms",
    "scale_by_rss",
    "scale_by_schedule",
    "scale_by_shape",
    "scale_by_sign",
    "scale_by_soap",
    "scale_by_stats",
    "scale_by_stddev",
    "scale_by_trust_ratio",
    "schedule_free",
    "schedule_free_eval_params",
    "selective_transform",
    "skip_large_updates",
    "skip_not_finite",
    "snapshot",
    "trace",
    "unitwise_clip",
    "unitwise_norm",
    "zero_nans",
]

__getattr__ = newer_names(__name__, theirs)
