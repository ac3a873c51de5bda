"""Videos of rollouts: the truth beside what runs make of it, as GIF that loops.

Colours are exact: a frame is made of indices into one palette, the field's colour map, and is
never dithered. A state of one space axis is a line, black on white.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from lilas.files import writing
from lilas.report.panels import colour_scale, edges

# Steps of the colour map: as many as the eye tells apart in motion. With 250 a GIF, which only
# finds repetitions, is twice as large.
SHADES = 40
WHITE, BLACK = 254, 255
# Points of the longer side of a tile, at most; smaller grids are enlarged towards it.
LONGEST = 256
TEXT, GAP = 14, 6
# Height of a tile with a line.
LINE = 96
MILLISECONDS = 120


def palette(truth: np.ndarray) -> np.ndarray:
    """Returns the colours of a field's video, uint8 (256, RGB): its map first, then white, black.

    Args:
        truth: All true states, whose range chooses the map (`lilas.report.panels.colour_scale`).
    """
    colours = np.full((256, 3), 255, dtype=np.uint8)
    cmap, _ = colour_scale(truth)
    colours[:SHADES] = np.round(255 * cmap((np.arange(SHADES) + 0.5) / SHADES)[:, :3])
    colours[BLACK] = 0
    return colours


def indices(states: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Returns the place of each value in the palette, uint8 of the shape of `states`.

    Values beyond the truth's scale have the colour of its end.
    """
    _, norm = colour_scale(truth)
    # A scale in powers of ten takes one axis alone.
    part = np.asarray(norm(states.astype(np.float64).ravel())).reshape(states.shape)
    return np.clip(np.floor(part * SHADES), 0, SHADES - 1).astype(np.uint8)


def sampled(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns which grid points the columns and the rows of a tile show, nearest in space.

    The tile has the aspect of the domain. Its longer side is the grid's, enlarged by the largest
    integer that keeps it within LONGEST or thinned by the smallest; the bottom row comes last.

    Args:
        x: Coordinates (x,), evenly spaced or not.
        y: Coordinates (y,), in the unit of `x`.
    """
    spans = [np.ptp(edges(axis)) for axis in (x, y)]
    points = len(x) if spans[0] >= spans[1] else len(y)
    enlarged, thinned = max(1, LONGEST // points), -(-points // LONGEST)
    longer = points * enlarged // thinned
    places = []
    for axis, span in zip((x, y), spans, strict=True):
        count = max(1, round(longer * span / max(spans)))
        # Halfway between two points the lower one, whatever the rounding: evenly thinned.
        at = edges(axis)[0] + (np.arange(count) + 0.5 - 1e-6) * span / count
        places.append(np.searchsorted((axis[1:] + axis[:-1]) / 2, at))
    return places[0], places[1][::-1]


def strokes(states: np.ndarray, truth: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Returns states (time, x) as lines in tiles, places in the palette, uint8 (time, column, row).

    The truth's range is the height of a tile, and what lies beyond it at its rim. The last row is
    the lowest; a column without a jump to the next has one black point.

    Args:
        states: What is drawn.
        truth: All true states.
        x: Coordinates (x,), evenly spaced or not.
    """
    low, high = float(truth.min()), float(truth.max())
    at = np.linspace(x[0], x[-1], LONGEST)
    values = np.stack([np.interp(at, x, state) for state in states.astype(np.float64)])
    part = np.clip((values - low) / (high - low or 1.0), 0, 1)
    row = np.rint((1 - part) * (LINE - 1)).astype(int)
    after = np.concatenate([row[:, 1:], row[:, -1:]], axis=1)
    first, last = np.minimum(row, after)[..., None], np.maximum(row, after)[..., None]
    inside = (np.arange(LINE) >= first) & (np.arange(LINE) <= last)
    return np.where(inside, BLACK, WHITE).astype(np.uint8)


def _tiles(
    rows: Mapping[str, np.ndarray], x: np.ndarray, y: np.ndarray | None
) -> dict[str, np.ndarray]:
    """Returns the pictures of each run, places in the palette, uint8 (time, column, row)."""
    truth = next(iter(rows.values()))
    if y is None:
        return {name: strokes(states, truth, x) for name, states in rows.items()}
    columns, lines = sampled(x, y)
    place = np.ix_(np.arange(len(truth)), columns, lines)
    return {name: indices(states, truth)[place] for name, states in rows.items()}


def rollout_video(
    rows: Mapping[str, np.ndarray],
    lead_times: Sequence[int],
    field: str,
    x: np.ndarray,
    y: np.ndarray | None = None,
) -> list[Image.Image]:
    """Returns the frames of a video: a tile per run, its name above, and the lead time.

    Args:
        rows: By name, (time, x[, y]); the first is the truth, whose colour scale all share.
        lead_times: Of each time, in solver steps.
        field: What is shown.
        x: Coordinates (x,).
        y: Coordinates (y,), in the unit of `x`; None of one space axis.
    """
    colours = palette(next(iter(rows.values())))
    pictures = _tiles(rows, x, y)
    columns, lines = next(iter(pictures.values())).shape[1:]
    # Wide tiles are stacked, tall ones stand side by side, so that the whole is about square.
    font = ImageFont.load_default(11)
    letters = max(int(np.ceil(font.getlength(name))) for name in rows)
    wide, high = max(columns, letters) + GAP, lines + TEXT + GAP
    across = max(1, round(np.sqrt(len(rows) * high / wide)))
    down = -(-len(rows) // across)
    canvas = np.full((down * high + TEXT + GAP, across * wide + GAP), WHITE, dtype=np.uint8)
    frames = []
    for time, lead in enumerate(lead_times):
        for place, picture in enumerate(pictures.values()):
            top = place // across * high + 2 * TEXT + GAP
            left = place % across * wide + GAP
            canvas[top : top + lines, left : left + columns] = picture[time].T
        frame = Image.fromarray(canvas, mode="P")
        frame.putpalette(colours.tobytes())
        draw = ImageDraw.Draw(frame)
        # Letters without grey edges: the palette has none.
        draw.fontmode = "1"
        draw.text((GAP, 1), f"{field}, lead time {lead}", fill=BLACK, font=font)
        for place, name in enumerate(pictures):
            corner = (place % across * wide + GAP, place // across * high + TEXT + GAP)
            draw.text(corner, name, fill=BLACK, font=font)
        frames.append(frame)
    return frames


def save(frames: Sequence[Image.Image], path: Path) -> None:
    """Writes frames as a GIF that loops for ever."""
    first, *others = frames
    settings = {"duration": MILLISECONDS, "loop": 0, "optimize": False, "disposal": 1}
    with writing(path):
        first.save(path, save_all=True, append_images=others, **settings)
