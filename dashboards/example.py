"""What an example is: a page with its settings, one click away."""

from collections.abc import Mapping
from dataclasses import dataclass, field

REAL = "smollm2-135m"


@dataclass(frozen=True)
class Example:
    """A page with its settings and the place to look at, and what there is to see."""

    page: str
    title: str
    about: str
    settings: Mapping[str, str]
    place: Mapping[str, str] = field(default_factory=dict)

    @property
    def address(self) -> dict[str, str]:
        """The query of the address that opens it."""
        return {**self.settings, **self.place}
