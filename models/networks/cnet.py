"""C-NET: stacks of convolutions on which channel saliencies are usually compared first."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from models.networks.layers import conv_bn_relu


class CNet(nn.Module):
    """Logits (N, classes) of images (N, channels, size, size): six 3x3 convolutions of as many channels each, with no
    normalisation, and max-pooling by 2 behind every second.

    Source: Venkatesan et al., Out-of-the-box Channel Pruned Networks, 2020, section 6.1 and figure 8.
    """

    def __init__(self, width: int = 32, channels: int = 3, classes: int = 10, size: int = 32) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for pair in range(3):
            for c_in in (width if pair else channels, width):
                layers += [nn.Conv2d(c_in, width, 3, padding=1), nn.ReLU()]
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers, nn.Flatten())
        self.classifier = nn.Linear(width * (size // 8) ** 2, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x))


class NormalisedCNet(nn.Module):
    """Logits (N, classes) of images (N, channels, H, W): Conv-BN-ReLU throughout, and the average of each channel.

    widths: channels of each convolution; "pool" between them halves the height and width.
    """

    def __init__(
        self, widths: Sequence[int | str] = (64, 64, "pool", 128, 128, "pool", 256, 256), channels: int = 3,
        classes: int = 10,
    ) -> None:  # fmt: skip
        super().__init__()
        layers: list[nn.Module] = []
        for width in widths:
            if isinstance(width, str):
                layers.append(nn.MaxPool2d(2))
                continue
            layers.append(conv_bn_relu(channels, width))
            channels = width
        self.features = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.classifier = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x))
