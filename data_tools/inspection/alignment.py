"""Whether a mask lies on its image as drawn, and whether its values were smoothed: what only neighbours tell."""

import numpy as np

SIDE = 128  # pixels that both are brought to, square
NEAR = 8  # pixels about an edge that its strength is measured against
FAINT = 4.0  # grey levels: weaker surroundings count as this, so that noise on a wall is no edge
STRONGEST = 3.0  # of an edge, in multiples of its surroundings
FEWEST_SLOPES = 64  # in a mask: a right one resized to 20 x 15 pixels has a few dozen, among a hundred steps
FEWEST_BORDERS = 300  # pixels of SIDE x SIDE: from fewer the measure is a matter of luck
# What may have been done to a mask, in words, and how to do it: the order of PictureFacts.fits after "as it is".
TURNS = {
    "mirrored": lambda mask: mask[:, ::-1],
    "upside down": lambda mask: mask[::-1],
    "turned by 180 degrees": lambda mask: mask[::-1, ::-1],
}


def fits(grey: np.ndarray, mask: np.ndarray) -> tuple[float, ...]:
    """How much stronger the image's edges are on the mask's borders than elsewhere, for the mask as it is and turned.

    Edges are taken relative to their surroundings of 17 x 17: else trees, which are all edges, decide. On CamVid's 701
    pictures a right mask gives 1.07 to 2.4 (median 1.67), and turned never more than 0.963 of that; of another picture
    0.81 to 1.5.

    Args:
        grey: the image, float32 [SIDE, SIDE].
        mask: its mask, integers [SIDE, SIDE], by nearest pixels.

    Returns:
        One number for the mask as it is, one for each of TURNS; () where it has too few borders.
    """
    borders = _borders(mask)
    if borders.sum() < FEWEST_BORDERS:
        return ()
    edges = _edges(grey)
    mean = edges.mean()
    if mean == 0:
        return ()
    return tuple(
        float(edges[turned].mean() / mean) for turned in (borders, *(turn(borders) for turn in TURNS.values()))
    )


def _borders(mask: np.ndarray) -> np.ndarray:
    """Pixels beside one of another value, bool [H, W]."""
    borders = np.zeros(mask.shape, bool)
    across, down = mask[:, 1:] != mask[:, :-1], mask[1:] != mask[:-1]
    borders[:, 1:] |= across
    borders[:, :-1] |= across
    borders[1:] |= down
    borders[:-1] |= down
    return borders


def _edges(grey: np.ndarray) -> np.ndarray:
    """Strength of the edges in multiples of the mean about them, float [H, W]."""
    across = np.abs(np.diff(grey, axis=1, prepend=grey[:, :1]))
    strength = across + np.abs(np.diff(grey, axis=0, prepend=grey[:1]))
    width = 2 * NEAR + 1
    sums = np.pad(strength, ((NEAR + 1, NEAR), (NEAR + 1, NEAR)), mode="edge").cumsum(0, np.float64).cumsum(1)
    means = (sums[width:, width:] - sums[:-width, width:] - sums[width:, :-width] + sums[:-width, :-width]) / width**2
    return np.minimum(strength / (means + FAINT), STRONGEST)


def ramps(values: np.ndarray) -> float:
    """How many of the steps between neighbours pass through a value in between, as 3, 5, 8: a share, 0 to 1.

    A class beside another is a step; interpolation and JPEG turn it into a slope. CamVid's masks have 0 to 0.033, the
    same resized with bilinear interpolation 0.26 to 0.5 (factors 0.5, 0.8 and 1.3). Where one value alone lies in
    between, as a thin border drawn between two classes does, or few pixels do, it is none.

    Args:
        values: of a mask, unsigned integers [H, W].
    """
    values = values.astype(np.int32)
    slopes, steps, between = 0, 0, []
    for way in (values, values.T):
        before, here, after = way[:, :-2], way[:, 1:-1], way[:, 2:]
        slope = ((before < here) & (here < after)) | ((before > here) & (here > after))
        slopes += int(slope.sum())
        steps += int((np.abs(np.diff(way, axis=1)) >= 2).sum())
        between.append(np.unique(here[slope]))
    if slopes < FEWEST_SLOPES or len(np.unique(np.concatenate(between))) < 2:
        return 0.0
    return slopes / (slopes + steps)
