"""Writes docs/report.schema.json, the JSON Schema of reports, anew: `python docs/programs/report_schema.py`."""

from __future__ import annotations

import json
from pathlib import Path

from upscale_onnx.report.schema import schema

PATH = Path(__file__).resolve().parents[1] / "report.schema.json"

if __name__ == "__main__":
    PATH.write_text(json.dumps(schema(), indent=1) + "\n", encoding="utf-8")
    print(f"written  {PATH}")
