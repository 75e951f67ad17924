"""Small transformers with random weights, and what they are given when they are exported."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import transformers
from coverage_units import Heads
from torch import nn

Axes = dict[int, str]


@dataclass(frozen=True)
class Network:
    """name: the class of the network; that of its configuration is called alike. settings: of the configuration. heads:
    how its attention is cut. inputs: the arguments that it is called with. cached: whether it keeps keys and values of
    former calls unless it is told not to. eager: parts of the configuration that know no other attention."""

    name: str
    settings: dict[str, Any]
    heads: Heads
    inputs: tuple[str, ...] = ("input_ids", "attention_mask")
    cached: bool = False
    eager: tuple[str, ...] = ()

    def build(self, attention: str) -> nn.Module:
        """The network with `attention` ("eager", "sdpa")."""
        config = getattr(transformers, self.name.removesuffix("Model").removesuffix("Encoder") + "Config")
        kinds = {"": attention, **dict.fromkeys(self.eager, "eager")} if self.eager else attention
        network: nn.Module = getattr(transformers, self.name)(config(**self.settings, attn_implementation=kinds))
        return network.eval()


class Wrapped(nn.Module):
    """A network from its inputs, by position, to its last hidden states."""

    def __init__(self, network: nn.Module, made: Network) -> None:
        super().__init__()
        self.network, self.names = network, made.inputs
        self.more = {"use_cache": False} if made.cached else {}

    def forward(self, first: torch.Tensor, second: torch.Tensor | None = None) -> torch.Tensor:
        given = dict(zip(self.names, (first, second), strict=False))
        hidden: torch.Tensor = self.network(**given, **self.more).last_hidden_state
        return hidden


def inputs_of(made: Network) -> dict[str, tuple[torch.Tensor, Axes]]:
    """A value for each input, and its dynamic axes."""
    return {name: INPUTS[name] for name in made.inputs}


INPUTS: dict[str, tuple[torch.Tensor, Axes]] = {
    "input_ids": (torch.randint(3, 199, (2, 7)), {0: "batch", 1: "length"}),
    "attention_mask": (torch.ones(2, 7, dtype=torch.int64), {0: "batch", 1: "length"}),
    "decoder_input_ids": (torch.randint(3, 199, (2, 7)), {0: "batch", 1: "length"}),
    "pixel_values": (torch.randn(2, 3, 32, 32), {0: "batch"}),
    "input_features": (torch.randn(2, 16, 40), {0: "batch"}),
    "input_values": (torch.randn(2, 400), {0: "batch", 1: "samples"}),
}

_LAYERS = {"num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": 64}
_SIZES = {**_LAYERS, "intermediate_size": 128}
_VOCABULARY = {"vocab_size": 200, "max_position_embeddings": 64}
_TEXT = {**_SIZES, **_VOCABULARY}
_IMAGE = {**_SIZES, "image_size": 32, "patch_size": 8}
_BOTH = {
    f"{side}_{what}": number
    for side in ("encoder", "decoder")
    for what, number in (("layers", 2), ("attention_heads", 4), ("ffn_dim", 128))
}
_TOKENS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
_WHISPER = {"vocab_size": 200, "num_mel_bins": 16, "max_source_positions": 20, "max_target_positions": 64}
_BACKBONE = {"embedding_size": 16, "hidden_sizes": [16, 32], "depths": [1, 1], "layer_type": "basic"}
_DETR = {
    "backbone_config": transformers.ResNetConfig(**_BACKBONE, out_features=["stage2"]),
    "num_queries": 10,
    **dict.fromkeys(("use_timm_backbone", "use_pretrained_backbone"), False),
}
_WAVES = {
    "conv_dim": [32, 32],
    "conv_stride": [5, 2],
    "conv_kernel": [10, 3],
    "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
    "vocab_size": 200,
}
_PLAIN, _FEW, _ONE = Heads(4, 4, 16), {"num_key_value_heads": 2}, {"num_key_value_heads": 1, "head_dim": 16}

NETWORKS: dict[str, Network] = {
    "bert": Network("BertModel", _TEXT, _PLAIN),
    "roberta": Network("RobertaModel", {**_TEXT, **_TOKENS}, _PLAIN),
    "distilbert": Network(
        "DistilBertModel", {"n_layers": 2, "n_heads": 4, "dim": 64, "hidden_dim": 128, **_VOCABULARY}, _PLAIN
    ),
    "t5": Network(
        "T5EncoderModel",
        {"vocab_size": 200, "d_model": 64, "d_kv": 16, "d_ff": 128, "num_layers": 2, "num_heads": 4},
        _PLAIN,
    ),
    "clip": Network("CLIPTextModel", _TEXT, _PLAIN),
    "gpt2": Network(
        "GPT2Model",
        {"n_layer": 2, "n_head": 4, "n_embd": 64, "n_inner": 128, "n_positions": 64, "vocab_size": 200, **_TOKENS},
        _PLAIN,
        cached=True,
    ),
    "opt": Network(
        "OPTModel", {**_LAYERS, **_VOCABULARY, "ffn_dim": 128, "word_embed_proj_dim": 64}, _PLAIN, cached=True
    ),
    "phi": Network("PhiModel", {**_TEXT, "partial_rotary_factor": 0.5}, Heads(4, 4, 16, 8), cached=True),
    "llama": Network("LlamaModel", {**_TEXT, **_FEW}, Heads(4, 2, 16, 16), cached=True),
    "mistral": Network("MistralModel", {**_TEXT, **_FEW, "sliding_window": None}, Heads(4, 2, 16, 16), cached=True),
    "gemma": Network("GemmaModel", {**_TEXT, **_ONE}, Heads(4, 1, 16, 16), cached=True),
    "qwen2": Network("Qwen2Model", {**_TEXT, "num_key_value_heads": 4}, Heads(4, 4, 16, 16), cached=True),
    "vit": Network("ViTModel", _IMAGE, _PLAIN, ("pixel_values",)),
    "swin": Network(
        "SwinModel",
        {"image_size": 32, "patch_size": 4, "embed_dim": 64, "depths": [2], "num_heads": [4], "window_size": 4},
        _PLAIN,
        ("pixel_values",),
    ),
    "detr": Network(
        "DetrModel", {"d_model": 64, **_BOTH, **_DETR}, _PLAIN, ("pixel_values",), eager=("backbone_config",)
    ),
    "whisper": Network(
        "WhisperModel",
        {"d_model": 64, **_BOTH, **_WHISPER, **_TOKENS, "decoder_start_token_id": 1},
        _PLAIN,
        ("input_features", "decoder_input_ids"),
        cached=True,
    ),
    "wav2vec2": Network("Wav2Vec2Model", {**_SIZES, **_WAVES}, _PLAIN, ("input_values",)),
}
