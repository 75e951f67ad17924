"""The graph passes, where the package is imported from a checkout: they stand in the top-level folder passes/.

Wheels leave this module out: they hold that folder itself as upscale_onnx/passes/ (see setup.py).
"""

from __future__ import annotations

from pathlib import Path

__path__ = [str(Path(__file__).resolve().parents[1] / "passes")]
