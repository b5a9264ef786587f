"""The README's rows of images and of series, by the metrics of their recipes."""

from scipy.stats import binomtest

from benchmarks.records import mean_and_deviation, reported, spread


def image_row(dataset: str, group: list[dict]) -> dict:
    """Accuracy, with its 95 % interval where there is one run alone, beside what pixels tell without a network."""
    split = reported(group[0])
    accuracy = spread([record["metrics"][split]["accuracy"] for record in group])
    if len(group) == 1:
        rows = group[0]["dataset"]["splits"][split]["rows"]
        right = round(group[0]["metrics"][split]["accuracy"] * rows)
        low, high = binomtest(right, rows).proportion_ci(method="wilson")
        accuracy += f" [{100 * low:.1f}, {100 * high:.1f}]"
    return {
        "validation": spread([record["metrics"]["validation"]["accuracy"] for record in group]),
        "accuracy, %": f"{accuracy} ({split})",
        **{name: f"{100 * scores[split]['accuracy']:.1f}" for name, scores in group[0]["baselines"].items()},
    }


def series_row(dataset: str, group: list[dict]) -> dict:
    """The error of whole forecasts beside those that need no model, and that of the model without most of the past."""
    arguments, baselines = group[0]["hyperparameters"], group[0]["baselines"]
    steps = arguments["prediction_length"]
    errors = {
        "validation": [record["metrics"]["validation"] for record in group],
        "RMSE (test)": [record["metrics"]["test"] for record in group],
        "last value": [baselines["last_value"]["test"]],
        "straight line": [baselines["constant_velocity"]["test"]],
        "shown one step": [record["baselines"]["last_1_steps_seen"]["test"] for record in group],
    }
    return {
        "forecast": f"{steps} steps, {steps * arguments['step']:g} {arguments['step_unit']}",
        "unit": ("ln " if arguments["logarithm"] else "") + arguments["value_unit"],
        **{name: mean_and_deviation([scores["rmse"] for scores in found], "#.3g") for name, found in errors.items()},
    }
