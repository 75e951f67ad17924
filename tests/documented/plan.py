"""What is done with each documented command: run as it stands, run with more words, or left out for a reason."""

from __future__ import annotations

from dataclasses import dataclass

from tests.documented.commands import Command

# The first line whose words a command begins with holds.
LEFT_OUT = {
    "make demo PYTHON=python3.12": "needs that interpreter; the same target as make demo",
    "make demo": "run in the checkout itself",
    "make test": "run in the checkout itself",
    "make lint": "a part of make test",
    "make lower-bounds": "run in the checkout itself",
    "make cluster": "run in the checkout itself",
    "make pages": "is this",
    "make site": "a part of make test",
    "make unit": "a part of make test",
    "make documented": "is this",
    "pip install optuna-integration mlflow": "fetches what only such callbacks need",
    "make dist": "tests/release build the same archives",
    "make sbom": "fetches tools and all libraries anew",
    "make clean": "would delete what runs this",
    ".venv/bin/python -m pytest": "a part of make test",
    "python -m models.export resnet20-16": "tests/models export every network",
    "python -m models.train_digits": "trains for minutes; tests/models run its parts",
    "python -m models.train_cifar": "trains for half an hour; tests/models run its parts",
    "python -m models.train_bases": "trains for half an hour; tests/models run its parts",
    "python -m upscale_onnx experiment figure4 --set TEST.npz BASES/cifar10_cnet-16_0.onnx": "needs networks to train",
    "python -m upscale_onnx experiment figure4 --set TEST.npz BASES/cifar10_resnet20-16_0.onnx": "needs networks",
    "python -m tests.interruptions": "takes an hour; tests/interruptions try some moments",
    "python -m venv": "fetches other tools to compare with",
    "python docs/programs/latency.py --reference-python": "needs other tools to compare with",
    "python docs/programs/peers/onnxsim_prune.py": "needs another tool to compare with",
    "python -m upscale_onnx bench in.onnx out.onnx peer.onnx": "needs what another tool has made",
    "reference/bin/python": "needs another tool to compare with",
    "from upscale_onnx import Options\nfrom upscale_onnx.candidates.space import": "needs networks of one structure",
    "pip install jupyterlab": "needed to look at notebooks alone; tests/documented run them",
    "python docs/programs/reinforcement.py": "trains for minutes, with libraries that only learning needs",
    "python docs/programs/coverage.py": "needs transformers",
    "python docs/programs/coverage_optimised.py": "needs transformers",
    "python docs/programs/coverage_vision.py": "needs timm",
    "python docs/programs/coverage_optimised.py --units stream": "needs transformers",
    "from olive.workflows import": "needs Olive; tests/integrations run it where that is installed",
    "pip install 'upscale-onnx[olive]'": "no release is fetched",
    "pip install 'upscale-onnx[search]'": "installed where this runs; a test looks the extra up",
    "pip install 'upscale-onnx[search,ray]'": "installed where this runs; a test looks the extras up",
    "pip install 'upscale-onnx[torch,search]'": "installed where this runs; a test looks the extras up",
    "python docs/programs/operator_tests.py": "tests/channels run its networks",
    "python docs/programs/nnsmith_networks.py": "needs NNSmith",
    "python docs/programs/compile_time.py": "fetches large networks of torchvision",
}
_GRID = (
    "--train TRAIN.npz --test TEST.npz --normalise imagenet --calibrate 32 --judge 32 --amounts 0.3 --criteria l2 "
    "--sides input --methods unconstrained --repairs lsq"
)
# Words that shorten what takes hours on a real network, and those that a document leaves out.
ADDED = {
    "python docs/programs/coverage_forms.py": "'inverted residuals' 'RNN, 1 layers, forward'",
    "python docs/programs/coverage_readers.py": "CumSum",
    "python -m tests.fuzz": "--count 20 --folder fuzzed",
    "python -m tests.properties.sequences": "--count 8",
    "python -m upscale_onnx bench a.onnx b.onnx": "--budget 1",
    "python -m upscale_onnx bench in.onnx out.onnx": "--budget 1",
    "python -m upscale_onnx calibrate": "--budget 5",
    "python -m upscale_onnx experiment": "--compressions 2 --draws 1 --limit 16",
    "python -m upscale_onnx finetune": "--epochs 1 --batch 16",
    "python -m upscale_onnx paper": "--amount 0.3",
    "python -m upscale_onnx prune": "--epochs 1 --batch 16 --no-race",
    "python -m upscale_onnx search": "--trials 3 --limit 16",
    "python docs/examples/search_strategy.py": "--trials 3 --limit 16",
    "python docs/programs/expansions.py": "test_selu",
    "python docs/programs/search_speed.py evaluations": "--images 50 --rounds 1",
    "python docs/programs/search_speed.py trials": "--count 12 --strategies tpe",
    "python docs/programs/accuracy.py grid": f"{_GRID} --out grid.csv",
    "python docs/programs/accuracy.py latency": f"{_GRID} --budget 0.2 --rounds 2 --out race.csv",
    "python docs/programs/aware_masks.py accuracy": "--amounts 0.3",
    "python docs/programs/mutation_score.py": "--mutants 2",
    "python docs/programs/quantise.py": "--images 16",
    "python docs/programs/quantised_speed.py": "--turns 2",
    "python docs/programs/scale.py --nodes 100000": "--nodes 140",
    "python docs/programs/scale.py --gigabytes 7": "--gigabytes 0.02 --width 256 --hidden 512",
    "python docs/programs/training_speed.py": "--networks resnet20-16 --rounds 1 --batch 4",
    "python docs/programs/latency.py": "--amounts 0.3 --batch 1 --budget 0.2 --calibrate 2",
}
# What shortens a program: these words of it, and what stands there instead.
SHORTENED = {"LC(steps=5,": "LC(steps=1,", "samples=4,": "samples=1,"}
PRELUDE = "import numpy, onnx\nmodel, x = onnx.load('in.onnx'), numpy.zeros((1, 3, 16, 16), numpy.float32)\n"
"""What the documented programs take as given."""


@dataclass(frozen=True)
class Step:
    """A command, with what is added to it, or the reason why it is left out."""

    command: Command
    added: str = ""
    reason: str | None = None

    @property
    def line(self) -> str:
        """What is run."""
        if self.command.is_python:
            return PRELUDE + _shortened(self.command.text)
        return f"{self.command.text} {self.added}".strip()


def step(command: Command) -> Step:
    """What is done with `command`."""
    reason = _first(LEFT_OUT, command.text)
    return Step(command, _first(ADDED, command.text) or "", reason)


def _shortened(program: str) -> str:
    for words, instead in SHORTENED.items():
        program = program.replace(words, instead)
    return program


def _first(table: dict[str, str], text: str) -> str | None:
    return next((table[start] for start in table if f"{text} ".startswith(f"{start} ")), None)
