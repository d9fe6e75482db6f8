"""What a task's MLflow experiment opens with: a saved view of charts.

MLflow keeps a saved view as an experiment tag, in a format that it does not document (seen in 3.17). Nothing else hangs
on it. The content is deterministic, so that writing it again changes nothing.
"""

import base64
import json
import uuid
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

from unrolled.ground.registry import task_part
from unrolled.ground.score import Score

VIEW = "unrolled-overview"
TAG = f"mlflow.sharedViewState.{VIEW}"
NAME = "Scores and gradient norms"
CORPUS = "unrolled.corpus_digest"  # the tag of a run by which the view is of one corpus alone
CONFIGURATION = "unrolled.configuration"  # that by which runs of several seeds are grouped
OVER_SEEDS = "unrolled.over_seeds"  # what such a group reached together, as the report has it
PARAM_COLUMNS = ("train.clip_norm", "train.learning_rate", "network.hidden", "corpus.name")
GROUPED = {"groupBy": {"aggregateFunction": "average", "groupByKeys": [{"mode": "tag", "groupByData": CONFIGURATION}]}}
COLUMN_WIDTH = 190  # pixels: the longest heading whole


class Chart(NamedTuple):
    """MLflow heads a chart with the metric's name; a title of our own it would not show."""

    metric: str
    scale: str | None = None  # None: bars; else the y axis of a line


def sections(task: str) -> dict[str, tuple[Chart, ...]]:
    """The charts by the heading that they stand under, the only place for words: some 45 characters.

    MLflow appends sections for all other metrics.
    """
    main, stack = _main_scores(task)[0], task_part(task, "publishing").STACK
    direction = "lower is better" if main.lower_is_better else "higher is better"
    if main.summed:
        direction += f" (mean: {main.difference})"
    return {
        f"{main.label.capitalize()}: {direction}": tuple(_score_charts(task)),
        "Gradient norm before clipping, and after": (
            Chart("grad_norm/window_max", "log"),
            Chart("grad_norm_after/window_max", "log"),
            Chart("grad_norm/window_median", "log"),
            Chart("grad_norm/log10_max"),  # bars have no log axis, and one explosion would flatten all others
            Chart("grad_norm/clipped_share"),
        ),
        "Through time: norm of dL/dh, addends of dL/dW_hh": (
            Chart(f"lag_profile/{stack}.0", "log"),
            Chart(f"profile/{stack}.0", "log"),
            Chart("phenomena/half_life"),
            Chart(f"addends/{stack}.0", "log"),
            Chart("addends/alignment"),
        ),
        "Memory and growth: context, Lyapunov, spectra": (
            Chart(f"context/{main.name}", _scale(main)),
            Chart(f"exponents/{stack}", "linear"),
            Chart(f"spectral_radius/{stack}.0", "log"),
            Chart("phenomena/context_needed"),
            Chart("phenomena/gradient_reach"),
            Chart("phenomena/lyapunov_exponent"),
        ),
        "Training": (
            Chart("train/loss", "log"),
            Chart("time/tokens_per_second"),
        ),
    }


def _main_scores(task: str) -> list[Score]:
    """Those that arms are compared by; the others are variants of them."""
    return [score for score in task_part(task, "scores").SCORES if score.column == "main"]


def _score_charts(task: str) -> Iterator[Chart]:
    main, *others = _main_scores(task)
    if main.summed:
        yield Chart(f"{main.name}/mean")  # which one exploded arm among them does not flatten
    yield Chart(f"{main.name}/test")
    yield Chart(f"{main.name}/valid", _scale(main))
    yield Chart(f"{main.name}/best_valid")
    yield from (Chart(f"{score.name}/test") for score in others)


def _scale(score: Score) -> str:
    return "log" if score.ratio else "linear"


def tag_value(task: str, corpus: str, *, grouped: bool = False) -> str:
    """The value of the experiment tag `TAG`; ``corpus``: the digest of the one whose runs are shown.

    ``grouped``: the runs of one configuration, which differ by their seed, stand as one, with their mean.
    """
    state = json.dumps(_state(task, corpus) | (GROUPED if grouped else {}), sort_keys=True, separators=(",", ":"))
    packed = base64.b64encode(zlib.compress(state.encode(), 9)).decode()
    return json.dumps({"name": NAME, "createdAt": 0, "updatedAt": 0, "state": f"deflate;{packed}"}, sort_keys=True)


def link(server: str, experiment_id: str) -> str:
    """The address that opens the saved view on `server` ("http://host:port")."""
    query = f"viewStateShareKey={VIEW}&compareRunsMode=CHART&workflowType=machine_learning"
    return f"{server.rstrip('/')}/#/experiments/{experiment_id}/runs?{query}"


def _state(task: str, corpus: str) -> dict[str, Any]:
    drawn = sections(task)
    metrics = [*(f"{score.name}/test" for score in _main_scores(task)), "grad_norm/max", "grad_norm/clipped_share"]
    columns = [*(f"metrics.`{name}`" for name in metrics), "tags.`diverged`", f"tags.`{OVER_SEEDS}`"]
    columns += [f"params.`{name}`" for name in PARAM_COLUMNS]
    return {
        # Scores of different texts do not compare. MLflow shows these digits beside a run's dataset.
        "searchFilter": f"tags.`{CORPUS}` LIKE '{corpus[:8]}%'",
        "orderByKey": "attributes.start_time",
        "orderByAsc": False,  # the newest first: MLflow draws the first twenty
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": columns,
        "columnOrder": columns,
        "columnWidths": dict.fromkeys(columns, COLUMN_WIDTH),
        "runsHiddenMode": "FIRST_20_RUNS",
        "compareRunSections": [_section(name) for name in drawn],
        "compareRunCharts": [_chart(chart, name) for name, charts in drawn.items() for chart in charts],
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


def _id(*names: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, "/".join(("unrolled", *names))))
