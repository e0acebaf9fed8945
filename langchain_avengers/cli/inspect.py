"""`avengers inspect`: the content of a saved router."""

from __future__ import annotations

from hashlib import sha256

from langchain_avengers._text import shorten
from langchain_avengers.cli import common, output


def command(router: common.RouterPath, json: common.Json = False) -> None:
    """Show a saved router: its models, its clusters with the best model of each, and warnings.

    The files are checked: a damaged or foreign router is an error. Nothing is embedded. `sha256` is the digest that
    `ClusterRouter.load(path, sha256=...)` checks.
    """
    from langchain_avengers.routing.artifact import JSON_NAME
    from langchain_avengers.routing.summary import summarise

    fitted = common.load_router(router)
    about = summarise(fitted.fitted_).to_dict()
    digest = sha256((router / JSON_NAME).read_bytes()).hexdigest()
    if json:
        output.print_json({"router": router, "sha256": digest, **about})
        return
    usual = type(fitted)().get_params()
    changed = {name: value for name, value in about["parameters"].items() if value != usual[name]}
    size = f"{len(fitted.models_)} models, {fitted.n_clusters_} clusters, {about['dimensions']} dimensions"
    output.say(f"{router}: {size}")
    output.say(f"embeddings: {about['embeddings'] or 'not recorded'}")
    output.say(f"sha256: {digest}")
    output.say(f"parameters: {', '.join(f'{k}={v}' for k, v in changed.items()) or 'the defaults'}")
    output.print_models(about["models"])
    rows = [
        (
            cluster["id"],
            cluster["rows"],
            cluster["model"],
            cluster["score"],
            cluster["lead"],
            "yes" if cluster["sure"] else "no",
            shorten(", ".join(f"{task} {n}" for task, n in sorted(cluster["tasks"].items(), key=_most)), 40),
            shorten(cluster["examples"][0], 50) if cluster["examples"] else "",
        )
        for cluster in about["clusters"]
    ]
    output.print_table(
        ("cluster", "rows", "best model", "score", "lead", "sure", "tasks", "nearest query"), rows
    )
    for check in about["checks"]:
        output.say(f"check: {check}")


def _most(item: tuple[str, int]) -> tuple[int, str]:
    return -item[1], item[0]
