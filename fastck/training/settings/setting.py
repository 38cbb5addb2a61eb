"""A setting of a training run: its default, its help and its bounds, said once, where its dataclass declares it."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What is known of one setting.

    Attributes
    ----------
    name : str
        Of the dataclass's field.
    default : object
        Its value where none is given.
    help : str
        One or two sentences for people.
    kind : type
        int, float, bool, str, or tuple and dict, which a `parse` makes of text.
    optional : bool
        Whether None is a value, too.
    choices : tuple
        The values that are allowed; empty where bounds say it.
    least, most, above, below : float or None
        Bounds: the first two may be reached.
    parse : callable or None
        Turns a text into a value, or several texts where an option may be repeated.
    repeated : bool
        Whether the command takes the option several times.
    flag : str
        The command's option, where it is called otherwise than the field.
    """

    name: str
    default: Any
    help: str
    kind: type
    optional: bool
    choices: tuple[Any, ...] = ()
    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None
    parse: Callable[[Any], Any] | None = None
    repeated: bool = False
    flag: str = ""

    def check(self, value: object) -> None:
        """Raise TypeError or ValueError unless this is a value of the setting."""
        if value is None and self.optional:
            return
        kinds = (int, float) if self.kind is float else (self.kind,)
        if not isinstance(value, kinds) or (isinstance(value, bool) and self.kind is not bool):
            raise TypeError(f"{self.name} must be of type {self.kind.__name__}, got {value!r}")
        if self.choices:
            if value not in self.choices:
                raise ValueError(f"{self.name} must be one of {', '.join(map(str, self.choices))}, got {value!r}")
        elif self.kind in (int, float) and not self._within(value):
            raise ValueError(f"{self.name} must be {self.range_text}, got {value}")

    def _within(self, value: Any) -> bool:
        return (
            math.isfinite(value)
            and (self.least is None or value >= self.least)
            and (self.most is None or value <= self.most)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )

    @property
    def range_text(self) -> str:
        """The bounds in words: "at least 0 and below 1"."""
        bounds = {"at least": self.least, "above": self.above, "at most": self.most, "below": self.below}
        return " and ".join(f"{word} {bound:,}" for word, bound in bounds.items() if bound is not None) or "finite"

    @property
    def default_text(self) -> str:
        """The default as people write it; empty where it depends on other things, which the help then says."""
        if self.default is None:
            return ""
        return {True: "yes", False: "no"}[self.default] if self.kind is bool else str(self.default)


def setting(default: Any, text: str, **more: Any) -> Any:
    """Return a dataclass field with its help, and with Setting's bounds, choices or parser."""
    return field(default=default, metadata={"help": text, **more})


def settings_of(cls: type) -> Mapping[str, Setting]:
    """Return the settings that a dataclass declares, in order."""
    kinds = get_type_hints(cls)
    return {
        entry.name: _described(entry.name, entry.default, kinds[entry.name], entry.metadata) for entry in fields(cls)
    }


def _described(name: str, default: Any, kind: Any, metadata: Mapping[str, Any]) -> Setting:
    """Take a type hint apart: int, float | None, Literal["a", "b"], tuple[str, ...] | None."""
    values = dict(metadata)
    optional = NoneType in get_args(kind)
    if optional:
        (kind,) = (part for part in get_args(kind) if part is not NoneType)
    if get_origin(kind) is Literal:
        values["choices"] = get_args(kind)
        kind = type(values["choices"][0])
    kind = get_origin(kind) or kind
    return Setting(name=name, default=default, kind=kind, optional=optional, **values)


def described(settings: Mapping[str, Setting]) -> str:
    """Return the settings as the Attributes section of a numpydoc text."""
    lines = ["Attributes", "----------"]
    for entry in settings.values():
        kind = "{" + ", ".join(map(repr, entry.choices)) + "}" if entry.choices else entry.kind.__name__
        # Where there is no default, the help says what stands in for it.
        lines.append(
            f"{entry.name} : {kind}{', optional' if entry.default is None else f', default {entry.default!r}'}"
        )
        lines.append(f"    {entry.help}")
    return "\n".join(lines)
