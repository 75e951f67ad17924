"""The graph passes, where the package is imported from a checkout: they stand in the top-level folder passes/.

An installed package holds that folder as upscale_onnx/passes/, which Python prefers to this module.
"""

from __future__ import annotations

from pathlib import Path

__path__ = [str(Path(__file__).resolve().parents[1] / "passes")]
