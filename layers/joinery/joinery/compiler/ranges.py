"""Least, expected, most."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Range:
    """A figure of a run: least, expected, most."""

    min: float = 0.0
    expected: float = 0.0
    max: float = 0.0

    def __add__(self, other: Range) -> Range:
        return Range(self.min + other.min, self.expected + other.expected, self.max + other.max)

    def times(self, other: Range) -> Range:
        """Returns the product, figure by figure."""
        return Range(self.min * other.min, self.expected * other.expected, self.max * other.max)

    def scaled(self, factor: float) -> Range:
        """Returns each figure times a number."""
        return Range(self.min * factor, self.expected * factor, self.max * factor)

    def rounded(self) -> dict[str, float]:
        """Returns whole numbers for least and most, two digits for expected."""
        return {"min": round(self.min), "expected": round(self.expected, 2), "max": round(self.max)}

    def dollars(self) -> dict[str, float]:
        """Returns the figures in dollars, to a hundredth of a millionth."""
        return {
            "min": round(self.min, 8),
            "expected": round(self.expected, 8),
            "max": round(self.max, 8),
        }


def exactly(value: float) -> Range:
    """Returns a figure that is the same in every run."""
    return Range(value, value, value)
