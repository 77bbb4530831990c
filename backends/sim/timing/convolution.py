"""A convolution as the matrix product that it is lowered to (im2col)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Convolution:
    """A two-dimensional convolution of one layer. Sizes are pairs (height, width).

    Attributes:
        image: of the input, with its padding.
        window: of the filters.
        channels: of the input, within one group.
        filters: of the output, within one group.
        stride: between windows.
        batch: images.
        groups: that do not see each other; each is a product of its own.
    """

    image: tuple[int, int]
    window: tuple[int, int]
    channels: int
    filters: int
    stride: tuple[int, int] = (1, 1)
    batch: int = 1
    groups: int = 1

    @property
    def result(self) -> tuple[int, int]:
        """Height and width of the output: windows that fit.

        SCALE-Sim rounds up where the last stride does not fit; see :attr:`rounded_up`.
        """
        (h, w), (p, q), (u, v) = self.image, self.window, self.stride
        return (h - p) // u + 1, (w - q) // v + 1

    @property
    def rounded_up(self) -> tuple[int, int]:
        """Height and width of the output as SCALE-Sim counts them: ceil((image - window + stride) / stride)."""
        (h, w), (p, q), (u, v) = self.image, self.window, self.stride
        return -(-(h - p + u) // u), -(-(w - q + v) // v)

    def lowered(self, *, rounded_up: bool = False) -> tuple[int, int, int]:
        """Return (m, n, k) of each group's product: output pixels, filters, elements of a window.

        >>> Convolution((224, 224), (11, 11), 3, 96, (4, 4)).lowered()
        (2916, 96, 363)
        """
        h, w = self.rounded_up if rounded_up else self.result
        return self.batch * h * w, self.filters, self.window[0] * self.window[1] * self.channels
