"""`avengers tune`: a weight of cost and a subset of models, from what calibration said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from langchain_avengers.cli import common, output

if TYPE_CHECKING:
    from langchain_avengers.routing.state import CostAdvice


def command(
    router: common.RouterPath,
    cost_weight: Annotated[
        str | None,
        typer.Option(metavar="advised|W", help="Default weight of cost: the advised one, or from 0 to 1."),
    ] = None,
    models: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Keep the best subset of N models.")
    ] = None,
    rule: Annotated[
        str, typer.Option(help="How a subset is chosen: greedy, or leaders (the paper's rule).")
    ] = "greedy",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="FOLDER", help="Folder to save the router with these choices in."
        ),
    ] = None,
    overwrite: common.Overwrite = False,
    json: common.Json = False,
) -> None:
    """Show, and with --out apply, what cross-validation on the calibration rows advised when the router was fitted.

    No row is read: the advice is in the router. Judge it on other rows with avengers evaluate.
    """
    from langchain_avengers.routing.artifact import JSON_NAME
    from langchain_avengers.routing.router import ClusterRouter

    if rule not in ("greedy", "leaders"):
        raise typer.BadParameter(f"--rule is {rule!r}; give greedy or leaders")
    if out is None and (cost_weight is not None or models is not None):
        raise typer.BadParameter("--cost-weight and --models need --out, the folder of the new router")
    fitted = ClusterRouter.load(router)
    advice, subsets = fitted.cost_advice_, fitted.subsets_
    if out is not None:
        common.keep_existing(out, out / JSON_NAME, overwrite)
        weight = _weight(cost_weight, advice)
        if models is not None:
            kept = fitted.select_models(models, rule="leaders" if rule == "leaders" else "greedy")
            for name in set(fitted.models_) - set(kept):
                fitted.remove_model(name)
        if weight is not None:
            parameters = replace(fitted.fitted_.parameters, cost_weight=weight)
            parameters.check()
            fitted.fitted_ = replace(fitted.fitted_, parameters=parameters)
        fitted.save(out)
    if json:
        output.print_json(
            {
                "router": router,
                "out": out,
                "models": fitted.models_,
                "cost_advice": advice,
                "subsets": subsets,
            }
        )
        return
    if advice is None:
        output.say("cost weight: no advice; none was found to save without a loss, or no costs are known")
    else:
        output.say(
            f"cost weight: {advice.cost_weight:g} saves {advice.saving:.0%} of the best single model's cost; held out, "
            f"it scores {100 * advice.difference:+.1f} ± {100 * advice.stderr:.1f} points against that model"
        )
    if subsets:
        rows = [
            (len(subset.models), f"{100 * subset.score:.1f}", ", ".join(subset.models)) for subset in subsets
        ]
        output.print_table(("models", "held-out score, %", "which"), rows)
    else:
        output.say("subsets: not cross-validated; the pool changed after fit, or there were few rows")
    if out is not None:
        output.note(f"{out} written: {', '.join(fitted.models_)}")
        output.note(f"next: avengers evaluate {out} HELD_OUT")
    else:
        output.note(f"next: avengers tune {router} --cost-weight advised --models N --out NEW")


def _weight(text: str | None, advice: CostAdvice | None) -> float | None:
    """The weight of cost that was asked for."""
    if text is None:
        return None
    if text == "advised":
        if advice is None:
            raise typer.BadParameter("--cost-weight is advised, and the router has no advice; give a number")
        return advice.cost_weight
    try:
        return float(text)
    except ValueError:
        raise typer.BadParameter(
            f"--cost-weight is {text!r}; give advised, or a number from 0 to 1"
        ) from None
