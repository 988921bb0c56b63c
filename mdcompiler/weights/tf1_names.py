"""Our tensor names -> the names in the published TensorFlow 1 checkpoints of MobileDet.

The scopes are those of the TensorFlow Object Detection API (`ssd_mobiledet_feature_extractor.py`,
`feature_map_generators.py`, `convolutional_box_predictor.py`): a block's scope is its kind and a counter per kind
in network order, the first without a number.

    C4/b1.ibn/dw/weight  ->  FeatureExtractor/MobileDetEdgeTPU/IBN_3/SeparableConv2d/depthwise_weights
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

_BLOCK_SCOPE = {"conv": "Conv", "ibn": "IBN", "fused": "FusedConv", "tucker": "TuckerConv"}
_OP_SCOPE = {
    "conv": {"conv": ""},
    "ibn": {"expand": "Conv", "dw": "SeparableConv2d", "project": "Conv_1"},
    "ibn without expansion": {"dw": "SeparableConv2d", "project": "Conv"},
    "fused": {"expand": "Conv", "project": "Conv_1"},
    "tucker": {"reduce": "Conv", "core": "Conv_1", "project": "Conv_2"},
}
_SE_SCOPE = {"reduce": "SqueezeExcite/Conv", "expand": "SqueezeExcite/Conv_1"}
_PREDICTOR = {"box": "BoxEncodingPredictor", "class": "ClassPredictor"}
_STATISTICS = {"gamma": "gamma", "beta": "beta", "mean": "moving_mean", "variance": "moving_variance"}
_EXTRA_BASE = "C5"


def tf1_names(shapes: Mapping[str, tuple[int, ...]], scope: str) -> dict[str, str]:
    """Our name -> checkpoint name for every tensor of `shapes` (weight_shapes' answer, in network order).

    scope: the backbone's scope, e.g. "FeatureExtractor/MobileDetCPU". Tensors that no published MobileDet
    has (another family's block kinds) are left out.
    """
    scopes = _scopes(shapes, scope)
    names: dict[str, str] = {}
    for name in shapes:
        path, leaf = _split(name)
        if path in scopes:
            names[name] = f"{scopes[path]}/{_leaf(path, leaf)}"
    return names


def backbone_scope(names: Iterable[str]) -> str | None:
    """The scope of the backbone in a checkpoint's `names`: where the stem's weights are. None: not a MobileDet."""
    found = [name for name in names if name.startswith("FeatureExtractor/") and name.endswith("/Conv/weights")]
    stems = [name for name in found if name.count("/") == 3]
    return stems[0].removesuffix("/Conv/weights") if len(stems) == 1 else None


def _scopes(shapes: Mapping[str, tuple[int, ...]], scope: str) -> dict[str, str]:
    """Path of every convolution -> its scope."""
    paths = dict.fromkeys(_split(name)[0] for name in shapes)
    blocks = _block_scopes(paths)
    found: dict[str, str | None] = {}
    for path in paths:
        if path.startswith("head/"):
            found[path] = _head_scope(path)
        elif path.startswith("extra/"):
            found[path] = _extra_scope(path, shapes, scope)
        else:
            found[path] = _backbone_scope(path, blocks, paths, scope)
    return {path: name for path, name in found.items() if name is not None}


def _block_scopes(paths: Mapping[str, None]) -> dict[str, str]:
    """`C4/b2.ibn` -> `IBN_5`; `paths` is in network order."""
    counter: Counter[str] = Counter()
    scopes: dict[str, str] = {}
    for path in paths:
        block = "/".join(path.split("/")[:2])
        kind = _kind(block, paths)
        if block in scopes or kind is None:
            continue
        base = "IBNNoExpansion" if kind == "ibn without expansion" else _BLOCK_SCOPE[kind]
        scopes[block] = f"{base}_{counter[base]}" if counter[base] else base
        counter[base] += 1
    return scopes


def _kind(block: str, paths: Mapping[str, None]) -> str | None:
    if block.startswith(("head/", "extra/")):
        return None
    kind = block.rpartition(".")[2]
    if kind == "ibn" and f"{block}/expand" not in paths:
        return "ibn without expansion"
    return kind if kind in _BLOCK_SCOPE else None


def _backbone_scope(path: str, blocks: Mapping[str, str], paths: Mapping[str, None], scope: str) -> str | None:
    stage, block_name, *op = path.split("/")
    block = f"{stage}/{block_name}"
    kind = _kind(block, paths)
    if kind is None:
        return None
    table = _SE_SCOPE if op[0] == "se" else _OP_SCOPE[kind]
    below = table.get(op[-1])
    return None if below is None else "/".join(part for part in (scope, blocks[block], below) if part)


def _extra_scope(path: str, shapes: Mapping[str, tuple[int, ...]], scope: str) -> str | None:
    _, level, op = path.split("/")
    number = level.removeprefix("l")
    if op == "reduce":
        return f"{scope}/{_EXTRA_BASE}_1_Conv2d_{number}_1x1_{shapes[f'{path}/weight'][0]}"
    expand, dw = (shapes.get(f"extra/{level}/{other}/weight") for other in ("expand", "dw"))
    if expand is None or dw is None or op not in ("dw", "expand"):
        return None
    separable = f"{scope}/{_EXTRA_BASE}_2_Conv2d_{number}_{dw[2]}x{dw[3]}_s2_{expand[0]}"
    return f"{separable}_depthwise" if op == "dw" else separable


def _head_scope(path: str) -> str | None:
    _, level, branch, op = path.split("/")
    predictor = f"BoxPredictor_{level.removeprefix('l')}/{_PREDICTOR[branch]}"
    return {"dw": f"{predictor}_depthwise", "pw": predictor}.get(op)


def _split(name: str) -> tuple[str, str]:
    """`C4/b2.ibn/dw/bn/gamma` -> (`C4/b2.ibn/dw`, `gamma`)."""
    path, _, leaf = name.rpartition("/")
    return path.removesuffix("/bn"), leaf


def _leaf(path: str, leaf: str) -> str:
    if leaf in _STATISTICS:
        return f"BatchNorm/{_STATISTICS[leaf]}"
    if leaf == "bias":
        return "biases"
    return "depthwise_weights" if path.endswith("/dw") else "weights"
