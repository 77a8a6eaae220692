"""The shapes of runs' symbols and dashes, as numbers: pages draw them as SVG, the contact sheet as pixels."""

from __future__ import annotations

WIDTH, HEIGHT = 24, 14  # the field that a mark is drawn on; its middle is (12, 7)
RADIUS = 4  # of the circle, which has no corners

CORNERS: dict[str, tuple[tuple[float, float], ...]] = {
    "circle": (),
    "square": ((8.5, 3.5), (15.5, 3.5), (15.5, 10.5), (8.5, 10.5)),
    "triangle-up": ((12, 2), (16.5, 10.5), (7.5, 10.5)),
    "triangle-down": ((12, 12), (7.5, 3.5), (16.5, 3.5)),
    "diamond": ((12, 2), (17, 7), (12, 12), (7, 7)),
    "star": ((12, 1.5), (13.6, 5.1), (17.5, 5.5), (14.6, 8.1), (15.4, 11.9), (12, 10), (8.6, 11.9), (9.4, 8.1),
             (6.5, 5.5), (10.4, 5.1)),
    "cross": ((10.5, 2.5), (13.5, 2.5), (13.5, 5.5), (16.5, 5.5), (16.5, 8.5), (13.5, 8.5), (13.5, 11.5), (10.5, 11.5),
              (10.5, 8.5), (7.5, 8.5), (7.5, 5.5), (10.5, 5.5)),
    "x": ((9, 2), (12, 5), (15, 2), (17, 4), (14, 7), (17, 10), (15, 12), (12, 9), (9, 12), (7, 10), (10, 7), (7, 4)),
}  # fmt: skip
# drawn and left out in turn, from the left; nothing: one line
DASHES_PX: dict[str, tuple[int, ...]] = {
    "solid": (),
    "dash": (5, 2),
    "dot": (2, 2),
    "dashdot": (5, 2, 2, 2),
    "longdash": (8, 3),
    "longdashdot": (8, 2, 2, 2),
}
