"""One colour an arm, the same in every figure and in MLflow."""

import colorsys
import zlib

# Dark2 of ColorBrewer in the order green, violet, orange, ...: told apart by colour-blind eyes as well.
HUES = ("#1b9e77", "#7570b3", "#d95f02", "#e7298a", "#a6761d", "#1f78b4", "#66a61e", "#525252")
WHITENING = (0.0, 0.45, 0.65, 0.25)  # by the row of `clipping`: its first row is the dark twin


def run_colour(arch: int, clipping: int, experiment: str | None = None) -> str:
    """`#rrggbb` of an arm by its rows' places in the grid: twins share a hue, the first clipping row is dark.

    The same arm under a named DVC experiment turns its hue a little, by that name, to tell two curves apart.
    """
    rgb = [int(HUES[arch % len(HUES)][place : place + 2], 16) / 255 for place in (1, 3, 5)]
    if experiment:
        hue, lightness, saturation = colorsys.rgb_to_hls(*rgb)
        turn = 0.05 + 0.08 * (zlib.crc32(experiment.encode()) % 1000) / 1000
        sign = -1 if zlib.crc32(experiment.encode()[::-1]) % 2 else 1
        rgb = list(colorsys.hls_to_rgb((hue + sign * turn) % 1, lightness, saturation))
    white = WHITENING[clipping % len(WHITENING)]
    return "#" + "".join(f"{round(255 * (part + (1 - part) * white)):02x}" for part in rgb)
