"""Network definitions by name. Each builder returns an untrained torch module; widths and depths are arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

from torch import nn

from models.networks.cnet import CNet, NormalisedCNet
from models.networks.densenet import DenseNet
from models.networks.inception import Inception
from models.networks.mobilenet import MobileNet
from models.networks.resnet import ResNet
from models.networks.unet import UNet
from models.networks.vit import ViT


@dataclass(frozen=True)
class Network:
    """A builder and the shape of one of its inputs, (C, H, W) without the batch."""

    build: Callable[[], nn.Module]
    input_shape: tuple[int, int, int] = (3, 32, 32)


NETWORKS: Mapping[str, Network] = MappingProxyType(
    {
        "cnet": Network(CNet),
        "cnet-16": Network(partial(CNet, size=16), (3, 16, 16)),
        "cnet-norms": Network(NormalisedCNet),
        "densenet": Network(DenseNet),
        "inception": Network(Inception),
        "mobilenet": Network(MobileNet),
        "resnet20-16": Network(partial(ResNet, widths=(16, 32, 128), projections=True)),
        "resnet20-64": Network(partial(ResNet, widths=(64, 128, 512), projections=True)),
        "resnet20-option-a": Network(ResNet),
        "unet": Network(UNet, (3, 64, 64)),
        "vit": Network(ViT),
    }
)
