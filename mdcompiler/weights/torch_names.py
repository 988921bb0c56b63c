"""Names in a torch state_dict of ours, and the names they have in weights files.

| weights file                       | state_dict                              | layout |
|------------------------------------|-----------------------------------------|--------|
| `<path>/weight`                    | `<path>.conv.weight`                    | OIHW, [out, in / groups, k, k] |
| `<path>/bias`                      | `<path>.conv.bias`                      | [out] |
| `<path>/bn/gamma`, `<path>/bn/beta`    | `<path>.bn.weight`, `<path>.bn.bias`        | [out] |
| `<path>/bn/mean`, `<path>/bn/variance` | `<path>.bn.running_mean`, `<path>.bn.running_var` | [out] |

`<path>` is that of the convolution in the network, e.g. `C4/b2.ibn/expand`. No torch is needed here.
"""

from __future__ import annotations

PARTS = {
    "weight": "conv.weight",
    "bias": "conv.bias",
    "bn/gamma": "bn.weight",
    "bn/beta": "bn.bias",
    "bn/mean": "bn.running_mean",
    "bn/variance": "bn.running_var",
}
"""End of a name in a weights file -> end of the name in a state_dict."""

_WRAPPERS = ("module.", "_orig_mod.")
"""What DistributedDataParallel, AveragedModel and torch.compile put before every name."""
_UNUSED = ("bn.num_batches_tracked", "n_averaged")


def state_name(name: str) -> str:
    """
    >>> state_name("C4/b2.ibn/expand/bn/gamma"), state_name("head/l0/box/pw/bias")
    ('C4/b2.ibn/expand.bn.weight', 'head/l0/box/pw.conv.bias')
    """
    head, _, leaf = name.rpartition("/")
    path, part = (head[:-3], f"bn/{leaf}") if head.endswith("/bn") else (head, leaf)
    return f"{path}.{PARTS[part]}"


def weight_name(key: str) -> str:
    """The name in a weights file of `key` in a state_dict; "" for counters that no weights file has.

    A name of a weights file stays what it is, and so does one that is neither.

    >>> weight_name("module.C4/b2.ibn/expand.bn.running_var"), weight_name("C4/b2.ibn/expand/weight")
    ('C4/b2.ibn/expand/bn/variance', 'C4/b2.ibn/expand/weight')
    """
    while key.startswith(_WRAPPERS):
        key = key.partition(".")[2]
    if key.endswith(_UNUSED):
        return ""
    for ours, theirs in PARTS.items():
        if key.endswith(f".{theirs}"):
            return f"{key[: -len(theirs) - 1]}/{ours}"
    return key
