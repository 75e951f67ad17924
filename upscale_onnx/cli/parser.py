"""The parser of the commands: its errors are raised, it suggests spellings, and it shows options by group."""

from __future__ import annotations

import argparse
import itertools
import re
from collections.abc import Sequence
from typing import Any, NoReturn

from upscale_onnx.errors import ArgumentError, did_you_mean


class Parser(argparse.ArgumentParser):
    """A parser that raises its errors, so that they are printed like all others, and that suggests spellings.

    essential: the options that its help shows; without any, all are shown.
    given: after parsing, the words of each option that was given, by its long name.
    """

    def __init__(self, *, essential: Sequence[str] = (), **settings: Any) -> None:
        super().__init__(**settings, allow_abbrev=False)
        self.essential = tuple(essential)
        self.given: dict[str, list[str]] = {}
        self._negative_number_matcher = re.compile(r"-(\d|\.\d|inf|nan)")  # -1e-3 and -inf are values, too, not options

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """Parse as the base class does, but report an unknown option first: it may be a missing one, misspelt."""
        for word in itertools.takewhile(lambda word: word != "--", args or ()):
            name = word.partition("=")[0]
            if name.startswith("--") and name not in self._option_string_actions:
                self.error(f"there is no option {name}{did_you_mean(name, self._option_string_actions)}")
        return super().parse_known_args(args, namespace)

    @property
    def named(self) -> dict[str, argparse.Action]:
        """All options, by each of their names."""
        return dict(self._option_string_actions)

    def format_help(self) -> str:
        """The help: of the essential options, if there are any, else of all."""
        if not self.essential:
            return super().format_help()
        actions = [a for a in self._actions if not a.option_strings or a.option_strings[-1] in self.essential]
        usage = " ".join([*(str(a.metavar) for a in actions if not a.option_strings), "[options]"])
        return self._told(f"%(prog)s {usage}", self.description, [("", actions)], self.epilog)

    def format_all(self) -> str:
        """The help of all options."""
        return super().format_help()

    def format_topic(self, titles: Sequence[str]) -> str:
        """The help of the groups of options with these titles."""
        groups = [(str(g.title), g._group_actions) for g in self._action_groups if g.title in titles]
        return self._told(None, None, groups, None)

    def _told(
        self,
        usage: str | None,
        description: str | None,
        groups: Sequence[tuple[str, Sequence[argparse.Action]]],
        epilog: str | None,
    ) -> str:
        formatter = self._get_formatter()
        if usage is not None:
            formatter.add_usage(usage, self._actions, [])
        formatter.add_text(description)
        for title, actions in groups:
            formatter.start_section(title or "options")
            formatter.add_arguments(actions)
            formatter.end_section()
        formatter.add_text(epilog)
        return formatter.format_help()

    def _get_values(self, action: argparse.Action, arg_strings: list[str]) -> Any:
        if action.option_strings:
            self.given.setdefault(action.option_strings[-1], []).extend(arg_strings)
        return super()._get_values(action, arg_strings)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        try:
            super()._check_value(action, value)
        except argparse.ArgumentError as error:
            raise argparse.ArgumentError(
                action, f"{error.message}{did_you_mean(value, action.choices or ())}"
            ) from None

    def error(self, message: str) -> NoReturn:
        """Raises: ArgumentError, always."""
        raise ArgumentError(f"{message} (see: {self.prog} --help)")


class Listed(argparse.Action):
    """Holds several values, as a tuple without duplicates: those separated by commas, those of several words, and those
    of the option given again."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        """Add the values to those that were given before; the default is none of these."""
        before = getattr(namespace, self.dest)
        given = () if before is self.default else before
        new = itertools.chain.from_iterable(values) if self.nargs == "+" else values
        setattr(namespace, self.dest, tuple(dict.fromkeys((*given, *new))))


class HelpAll(argparse.Action):
    """Prints the help of all options, and ends."""

    def __call__(self, parser: argparse.ArgumentParser, *rest: object) -> None:
        """Print, and raise SystemExit."""
        assert isinstance(parser, Parser)
        print(parser.format_all(), end="")
        parser.exit()
