"""The first sight of the MLflow experiment: a saved view of charts.

MLflow keeps a saved view as an experiment tag in a format it does not document (seen in 3.17). Nothing but the
first sight hangs on it. The content is deterministic, so that writing it again changes nothing.
"""

import base64
import json
import uuid
import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple

VIEW = "unrolled-overview"
TAG = f"mlflow.sharedViewState.{VIEW}"
NAME = "Perplexity and gradient norms"


class Chart(NamedTuple):
    """MLflow heads a chart with the metric's name; a title of our own it would not show."""

    metric: str
    scale: str | None = None  # None: bars; else the y axis of a line


# MLflow appends sections for all other metrics. A section's name is the only place for words, some 45 characters long.
SECTIONS: dict[str, tuple[Chart, ...]] = {
    "Perplexity: lower is better (nats are its log)": (
        Chart("nats_per_token/test"),
        Chart("forward_perplexity/test"),
        Chart("forward_perplexity/valid", "log"),
        Chart("forward_perplexity/best_valid"),
        Chart("backward_perplexity/test"),
        Chart("pseudo_perplexity/test"),
    ),
    "Gradient norm before clipping, and applied": (
        Chart("grad_norm/window_max", "log"),
        Chart("grad_norm/applied", "log"),
        Chart("grad_norm/clipped_share"),
        Chart("grad_norm/max"),
        Chart("grad_norm/log10_max"),
        Chart("grad_norm/median"),
    ),
    "Through time: norm of dL/dh, addends of dL/dW_hh": (
        Chart("lag_profile/forward.0", "log"),
        Chart("profile/forward.0", "log"),
        Chart("lag_profile/half_life"),
        Chart("addends/forward.0", "log"),
        Chart("addends/alignment"),
    ),
    "Memory and growth: context, Lyapunov, spectra": (
        Chart("context/perplexity", "log"),
        Chart("exponents/forward", "linear"),
        Chart("spectral_radius/forward.0", "log"),
        Chart("phenomena/context_needed"),
        Chart("phenomena/gradient_reach"),
        Chart("phenomena/lyapunov_exponent"),
    ),
    "Training": (
        Chart("train/loss", "log"),
        Chart("diverged"),
        Chart("time/tokens_per_second"),
    ),
}
PARAM_COLUMNS = ("train.clip_norm", "train.learning_rate", "network.hidden", "corpus.name")
METRIC_COLUMNS = ("forward_perplexity/test", "pseudo_perplexity/test", "grad_norm/max", "grad_norm/clipped_share")


def tag_value() -> str:
    """The value of the experiment tag `TAG`."""
    state = json.dumps(_state(), sort_keys=True, separators=(",", ":"))
    packed = base64.b64encode(zlib.compress(state.encode(), 9)).decode()
    return json.dumps({"name": NAME, "createdAt": 0, "updatedAt": 0, "state": f"deflate;{packed}"}, sort_keys=True)


def link(server: str, experiment_id: str) -> str:
    """The address that opens the saved view on `server` ("http://host:port")."""
    query = f"viewStateShareKey={VIEW}&compareRunsMode=CHART&workflowType=machine_learning"
    return f"{server.rstrip('/')}/#/experiments/{experiment_id}/runs?{query}"


def _state() -> dict[str, Any]:
    return {
        "searchFilter": "",
        "orderByKey": "attributes.start_time",
        "orderByAsc": False,  # the newest first: MLflow draws the first twenty
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": [f"params.`{name}`" for name in PARAM_COLUMNS]
        + [f"metrics.`{name}`" for name in METRIC_COLUMNS],
        "columnOrder": [],
        "columnWidths": {},
        "runsHiddenMode": "FIRST_20_RUNS",
        "compareRunSections": [_section(name) for name in SECTIONS],
        "compareRunCharts": [_chart(chart, name) for name, charts in SECTIONS.items() for chart in charts],
        "viewMaximized": False,
        "runListHidden": False,
        "isAccordionReordered": True,
        "useGroupedValuesInCharts": True,
        "hideEmptyCharts": True,
        "groupBy": None,
        "groupsExpanded": {},
        "globalLineChartConfig": {"xAxisKey": "step", "lineSmoothness": 0, "selectedXAxisMetricKey": ""},
    }


def _section(name: str) -> dict[str, Any]:
    return {
        "uuid": _id(name),
        "name": name,
        "display": True,
        "isReordered": True,
        "deleted": False,
        "isGenerated": False,
        "columns": 3,
        "cardHeight": 330,
    }


def _chart(chart: Chart, section: str) -> dict[str, Any]:
    shared = {
        "uuid": _id(section, chart.metric),
        "type": "LINE" if chart.scale else "BAR",
        "runsCountToCompare": 20,
        "metricSectionId": _id(section),
        "deleted": False,
        "isGenerated": False,
        "displayName": chart.metric,
        "metricKey": chart.metric,
    }
    if chart.scale is None:
        return shared
    return shared | {
        "selectedMetricKeys": [chart.metric],
        "lineSmoothness": 0,
        "scaleType": chart.scale,
        "xAxisScaleType": "linear",
        "xAxisKey": "step",
        "selectedXAxisMetricKey": "",
        "yAxisKey": "metric",
        "yAxisExpressions": [],
        "range": {},
        "ignoreOutliers": False,
        "useGlobalXaxisKey": True,
        "useGlobalLineSmoothing": True,
    }


def _id(*names: Sequence[str] | str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, "/".join(("unrolled", *map(str, names)))))
