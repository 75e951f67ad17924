"""Units of transformers that go together, found by the names of their weights, and zeroed with random masks."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

_ROWS = {
    "ffn": r"(intermediate[._]dense|fc1|c_fc|lin1|gate_proj|up_proj|\.wi|\.wi_0|\.wi_1)\.(weight|bias)$",
    "query": r"(query|q_proj|q_lin|SelfAttention\.q)\.(weight|bias)$",
    "key": r"(key|k_proj|k_lin|SelfAttention\.k)\.(weight|bias)$",
    "value": r"(value|v_proj|v_lin|SelfAttention\.v)\.(weight|bias)$",
}
_COLUMNS = {
    "ffn": r"((?<!attention\.)output[._]dense|fc2|lin2|mlp\.c_proj|down_proj|\.wo)\.weight$",
    "value": r"(attention\.output\.dense|(o|out)_proj|out_lin|self_attn\.dense|\battn\.c_proj|Attention\.o)\.weight$",
}
_LAYER = re.compile(r"^.*?\.\d+\.")
# Layers that make the stream, beside those that return to it: patches of an image, frames of a sound, their places.
_FIRST = re.compile(r"patch_embedding|input_projection|feature_projection\.projection|encoder\.conv2|pos_conv_embed")
_NORMS = re.compile(r"norm|ln_|layer_?norm", re.IGNORECASE)
STREAM = "stream"


@dataclass(frozen=True)
class Heads:
    """count: heads of queries. groups: heads of keys and values. size: features of a head. rotary: how many of these
    are rotated; they go in pairs."""

    count: int
    groups: int
    size: int
    rotary: int = 0


def zero(network: nn.Module, unit: str, share: float, heads: Heads, seed: int = 0) -> int:
    """Zero a share of the units of each layer, in all weights that hold them. Returns the count of zeroed entries of
    weights of two and more axes.

    unit: one of `UNITS`, or `STREAM`: channels that all layers read, normalise and add to.
    """
    if unit == STREAM:
        return _zero_stream(network, share, seed)
    layers: dict[str, dict[str, list[torch.Tensor]]] = defaultdict(lambda: defaultdict(list))
    for name, weight in _weights(network):
        layer = _LAYER.match(name)
        for side, patterns in (("rows", _ROWS), ("columns", _COLUMNS)):
            for kind, pattern in patterns.items():
                if layer and re.search(pattern, name):
                    layers[layer.group()][f"{kind} {side}"].append(weight)
    rng = np.random.default_rng(seed)
    before = _zeros(network)
    for parts in layers.values():
        for kind, index in _CHOICES[unit](rng, share, heads, parts).items():
            for weight in parts[kind]:
                weight[(slice(None), index) if kind.endswith("columns") else index] = 0
    return _zeros(network) - before


def _zero_stream(network: nn.Module, share: float, seed: int) -> int:
    """Zero a share of the channels of the stream in what makes them, normalises them and reads them."""
    weights = list(_weights(network))
    width = next(weight.shape[1] for name, weight in weights if re.search(_ROWS["query"], name) and weight.ndim > 1)
    gone = np.random.default_rng(seed).choice(width, int(share * width), replace=False)
    before = _zeros(network)
    for name, weight in weights:
        layer = name.rpartition(".")[0]
        makes = _FIRST.search(name) or any(re.search(pattern, f"{layer}.weight") for pattern in _COLUMNS.values())
        if weight.ndim == 1:
            stays = not (makes or _NORMS.search(name)) or len(weight) != width
            weight[[] if stays else gone] = 0
        elif makes and len(weight) == width:
            weight[gone] = 0
        elif weight.shape[-1] == width:
            weight[..., gone] = 0
    return _zeros(network) - before


def _weights(network: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """The weights by name, with rows for outputs. Queries, keys and values that have one weight are told apart."""
    for name, parameter in network.named_parameters():
        weight = parameter.data
        if isinstance(network.get_submodule(name.rpartition(".")[0]), Conv1D):
            weight = weight.T
        if ".c_attn." not in name:
            yield name, weight
            continue
        for part, rows in zip("qkv", weight.chunk(3), strict=True):
            yield name.replace("c_attn", f"{part}_proj"), rows


def _zeros(network: nn.Module) -> int:
    return sum(int((weight == 0).sum()) for weight in network.parameters() if weight.ndim > 1)


def _neurons(rng: np.random.Generator, share: float, heads: Heads, parts: Any) -> dict[str, Any]:
    size = len(parts["ffn rows"][0])
    gone = rng.choice(size, int(share * size), replace=False)
    return {"ffn rows": gone, "ffn columns": gone}


def _heads(rng: np.random.Generator, share: float, heads: Heads, parts: Any) -> dict[str, Any]:
    gone = rng.choice(heads.groups, int(share * heads.groups), replace=False)
    per = heads.count // heads.groups
    asked = _spread((gone[:, None] * per + np.arange(per)).ravel(), heads.size)
    kept = _spread(gone, heads.size)
    return {"query rows": asked, "key rows": kept, "value rows": kept, "value columns": asked}


def _query_features(rng: np.random.Generator, share: float, heads: Heads, parts: Any) -> dict[str, Any]:
    features = [_of_head(rng, share, heads.size, heads.rotary // 2) for _ in range(heads.groups)]
    per = heads.count // heads.groups
    asked = np.concatenate([features[h // per] + h * heads.size for h in range(heads.count)])
    kept = np.concatenate([features[g] + g * heads.size for g in range(heads.groups)])
    return {"query rows": asked, "key rows": kept}


def _of_head(rng: np.random.Generator, share: float, size: int, pairs: int) -> Any:
    """A share of the features of a head, of which the first are rotated in so many pairs."""
    gone = rng.choice(pairs, int(share * pairs), replace=False)
    others = 2 * pairs + rng.choice(size - 2 * pairs, int(share * (size - 2 * pairs)), replace=False)
    return np.concatenate((gone, gone + pairs, others))


def _value_features(rng: np.random.Generator, share: float, heads: Heads, parts: Any) -> dict[str, Any]:
    count = int(share * heads.size)
    features = [rng.choice(heads.size, count, replace=False) for _ in range(heads.groups)]
    per = heads.count // heads.groups
    read = np.concatenate([features[h // per] + h * heads.size for h in range(heads.count)])
    made = np.concatenate([features[g] + g * heads.size for g in range(heads.groups)])
    return {"value rows": made, "value columns": read}


def _spread(heads: Any, size: int) -> Any:
    return (np.asarray(heads)[:, None] * size + np.arange(size)).ravel()


_CHOICES: dict[str, Callable[[np.random.Generator, float, Heads, Any], dict[str, Any]]] = {
    "neurons": _neurons,
    "heads": _heads,
    "query features": _query_features,
    "value features": _value_features,
}
UNITS = tuple(_CHOICES)
