"""ResNets for small images.

Source: He et al., Deep Residual Learning for Image Recognition, CVPR 2016, section 4.2.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from models.networks.layers import GlobalAverage, conv_bn_relu


class PaddedShortcut(nn.Module):
    """What has no weights (option A): every `stride`-th pixel, and channels of zeros."""

    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        super().__init__()
        self.stride, self.added = stride, c_out - c_in

    def forward(self, x: Tensor) -> Tensor:
        if self.stride == 1 and self.added == 0:
            return x
        before = self.added // 2
        return functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, before, self.added - before))


class Block(nn.Module):
    """Two 3x3 convolutions around a shortcut."""

    def __init__(self, c_in: int, c_out: int, stride: int, shortcut: nn.Module) -> None:
        super().__init__()
        self.first = conv_bn_relu(c_in, c_out, stride=stride)
        self.second = conv_bn_relu(c_out, c_out, relu=nn.Identity)
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.second(self.first(x)) + self.shortcut(x))


class ResNet(nn.Module):
    """Logits (N, classes) of images (N, channels, H, W). Depth is 6 * blocks + 2: ResNet-20 by default.

    projections: whether the first block of every stage has a 1x1 convolution as its shortcut, as in Venkatesan et al.,
    Out-of-the-box Channel Pruned Networks, 2020, section 6.2; otherwise shortcuts have no weights (option A).
    """

    def __init__(
        self,
        blocks: int = 3,
        widths: Sequence[int] = (16, 32, 64),
        channels: int = 3,
        classes: int = 10,
        projections: bool = False,
    ) -> None:
        super().__init__()
        self.stem = conv_bn_relu(channels, widths[0])
        layers: list[nn.Module] = []
        c_in = widths[0]
        for stage, width in enumerate(widths):
            for index in range(blocks):
                stride = 2 if stage and not index else 1
                shortcut: nn.Module = PaddedShortcut(c_in, width, stride)
                if projections and not index:
                    shortcut = conv_bn_relu(c_in, width, 1, stride=stride, relu=nn.Identity)
                layers.append(Block(c_in, width, stride, shortcut))
                c_in = width
        self.stages = nn.Sequential(*layers, GlobalAverage())
        self.classifier = nn.Linear(c_in, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.stages(self.stem(x)))
