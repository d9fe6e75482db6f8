"""Made-up text: what of a verb's gradient arrives at its subject, by the number of words between the two."""

import math

import numpy as np
import pandas as pd

from unrolled.ground.corpus import Split
from unrolled.probing.targets import NO_ARRIVAL, TARGETS
from unrolled.tasks.language_model.model.network import Network
from unrolled.tasks.language_model.probes.targets import lags_of_targets

DISTANCES = (1, 2, 4, 8, 16, 32, 64, 128)
FEWEST = 8  # verbs, with fewer of which a distance is not measured


def arrivals(network: Network, split: Split) -> pd.DataFrame:
    """Of the lowest layer of the forward stack; empty for other text than agreement.

    `arrival`: ||dL/dh|| where the subject was read over that where the cue was, which says that the verb is due; L: the
    summed loss of up to 64 verbs alone that stand so far from their subjects. `cell_arrival`: of what comes back to c,
    over that one step before the cue.
    """
    distances, rows = np.asarray(split.arrays.get("distances", ())), []
    for distance in DISTANCES:
        steps = distance + 2  # subject, fillers and cue
        verbs = np.flatnonzero(distances == distance)
        verbs = verbs[verbs >= 2 * steps]
        if len(verbs) < FEWEST:
            continue
        chosen = verbs[np.unique(np.linspace(0, len(verbs) - 1, TARGETS, dtype=np.int64))]
        lags = lags_of_targets(network, split.tokens, chosen, steps)
        norms, cell_norms = (lags.loc[lags["layer"] == 0, name].tolist() for name in ("norm", "cell_norm"))
        rows.append((distance, len(chosen), _share(norms[-1], norms[0]), _share(cell_norms[-1], cell_norms[1])))
    return pd.DataFrame(rows, columns=list(NO_ARRIVAL)) if rows else NO_ARRIVAL


def _share(arrived: float, sent: float) -> float:
    return arrived / sent if sent else math.nan
