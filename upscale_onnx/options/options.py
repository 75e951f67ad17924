"""The options of a compile, as one frozen value that can be printed, hashed and compared."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from upscale_onnx.errors import ArgumentError, did_you_mean
from upscale_onnx.options.groups import OPTION, ExportOptions, ProofOptions, PruneOptions, TargetOptions

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from upscale_onnx.options.overrides import Overrides


@dataclass(frozen=True)
class Options:
    """All options of a compile, in groups. `Options.of` makes them from single options.

    >>> from upscale_onnx import Options, PruneOptions
    >>> options = Options(prune=PruneOptions(amount=0.3, criterion="l1"))
    >>> options == Options.of(amount=0.3, criterion="l1")
    True
    >>> options.replaced(threads=2).target.threads
    2
    """

    export: ExportOptions = field(default_factory=ExportOptions)
    target: TargetOptions = field(default_factory=TargetOptions)
    prune: PruneOptions = field(default_factory=PruneOptions)
    proof: ProofOptions = field(default_factory=ProofOptions)

    @classmethod
    def of(cls, **single: Unpack[Overrides]) -> Options:
        """The options with these values, given by name. All others have their defaults.

        Raises: ArgumentError where there is no such option.
        """
        return cls().replaced(**single)

    def replaced(self, **single: Unpack[Overrides]) -> Options:
        """Return a copy of these options with the values in `single`, given by option name. Paths become text.

        Raises: ArgumentError where there is no such option.
        """
        names = option_names()
        for name in single:
            if name not in names:
                raise ArgumentError(f"there is no option {name!r}{did_you_mean(name, names)}")
        given: Mapping[str, Any] = single
        groups = {place.name: getattr(self, place.name) for place in fields(self)}
        for place, group in groups.items():
            values = {part.name: given.get(option_name(part), getattr(group, part.name)) for part in fields(group)}
            groups[place] = replace(group, **{name: _as_text(value) for name, value in values.items()})
        return Options(**groups)


def option_name(part: Field[Any]) -> str:
    """The name of the option that a field of a group holds."""
    name: str = part.metadata.get(OPTION, part.name)
    return name


def option_names() -> list[str]:
    """The names of all options, each once."""
    groups = (ExportOptions, TargetOptions, PruneOptions, ProofOptions)
    return list(dict.fromkeys(option_name(part) for group in groups for part in fields(group)))


def _as_text(value: Any) -> Any:
    return os.fspath(value) if isinstance(value, os.PathLike) else value
