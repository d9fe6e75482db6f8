"""Several networks that label a text together, by the mean of their probabilities (Hansen & Salamon 1990)."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray


def by_text(probabilities: NDArray[np.float64], labels: NDArray[np.int64], names: Sequence[str]) -> pd.DataFrame:
    """A row a text, in the split's order: its label, and in single precision each label's probability, p(<label>)."""
    columns = {f"p({name})": probabilities[:, label].astype(np.float32) for label, name in enumerate(names)}
    return pd.DataFrame({"label": [names[label] for label in labels.tolist()], **columns})


def right_together(tables: Sequence[pd.DataFrame]) -> NDArray[np.float32]:
    """Whether the label of the highest mean is the right one, 1 or 0, [D]; ``tables``: of the networks, by ``by_text``.

    0 for a text of which one of them has no probabilities, as it diverged; of equals the first label counts.
    """
    columns = list(tables[0].columns[1:])
    mean = np.mean([table[columns].to_numpy(np.float64) for table in tables], axis=0)
    chosen = np.array(columns)[np.nan_to_num(mean, nan=-1.0).argmax(1)]
    right = chosen == [f"p({name})" for name in tables[0]["label"]]
    return (right & np.isfinite(mean).all(1)).astype(np.float32)
