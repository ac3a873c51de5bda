"""Videos of rollouts: the truth beside what runs make of it, as GIF that loops.

Colours are exact: a frame is made of indices into one palette, the field's colour map, and is
never dithered.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from lilas.report.panels import colour_scale, edges

# Steps of the colour map: as many as the eye tells apart in motion. With 250 a GIF, which only
# finds repetitions, is twice as large.
SHADES = 40
WHITE, BLACK = 254, 255
# Points of the longer side of a tile, at most; smaller grids are enlarged towards it.
LONGEST = 256
TEXT, GAP = 14, 6
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


def rollout_video(
    rows: Mapping[str, np.ndarray],
    lead_times: Sequence[int],
    field: str,
    x: np.ndarray,
    y: np.ndarray,
) -> list[Image.Image]:
    """Returns the frames of a video: a tile per run, its name above, and the lead time.

    Args:
        rows: By name, (time, x, y); the first is the truth, whose colour scale all share.
        lead_times: Of each time, in solver steps.
        field: What is shown.
        x: Coordinates (x,).
        y: Coordinates (y,), in the unit of `x`.
    """
    truth = next(iter(rows.values()))
    colours = palette(truth)
    columns, lines = sampled(x, y)
    # Wide tiles are stacked, tall ones stand side by side, so that the whole is about square.
    font = ImageFont.load_default(11)
    letters = max(int(np.ceil(font.getlength(name))) for name in rows)
    wide, high = max(len(columns), letters) + GAP, len(lines) + TEXT + GAP
    across = max(1, round(np.sqrt(len(rows) * high / wide)))
    down = -(-len(rows) // across)
    canvas = np.full((down * high + TEXT + GAP, across * wide + GAP), WHITE, dtype=np.uint8)
    pictures = {name: indices(states, truth) for name, states in rows.items()}
    frames = []
    for time, lead in enumerate(lead_times):
        for place, picture in enumerate(pictures.values()):
            top = place // across * high + 2 * TEXT + GAP
            left = place % across * wide + GAP
            tile = picture[time][np.ix_(columns, lines)].T
            canvas[top : top + len(lines), left : left + len(columns)] = tile
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
    first.save(path, save_all=True, append_images=others, **settings)
