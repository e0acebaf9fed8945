"""The card of a saved router: the README.md beside it, as model hubs show it."""

from __future__ import annotations

from langchain_avengers._text import shorten
from langchain_avengers.routing.state import FittedRouter
from langchain_avengers.routing.summary import summarise

_MOST = 40  # clusters or models listed; a card is read, not searched


def router_card(state: FittedRouter) -> str:
    """A router's card in Markdown, with the front matter hubs read.

    It says what calibration says: models, clusters and where each goes, parameters, and how to load it. It
    makes no claim about held-out rows: that is what an evaluation is for.

    Args:
        state: A fitted router.
    """
    from langchain_avengers import __version__

    about = summarise(state)
    tasks = sorted({task for cluster in about.clusters for task in cluster.tasks})
    priced = any(model.cost is not None for model in about.models)
    models = [
        "| model | calibration score | best in clusters |" + (" $ per 1000 answers |" if priced else ""),
        "|---|---:|---:|" + ("---:|" if priced else ""),
    ]
    for model in about.models[:_MOST]:
        line = f"| {_cell(model.name)} | {model.score:.3f} | {model.clusters_led} |"
        if priced:
            line += " - |" if model.cost is None else f" {1000 * model.cost:.4g} |"
        models.append(line)
    clusters = [
        "| cluster | rows | best model | its score | a question in it |",
        "|---:|---:|---|---:|---|",
    ]
    for cluster in about.clusters[:_MOST]:
        question = cluster.examples[0] if cluster.examples else "-"
        clusters.append(
            f"| {cluster.id} | {cluster.rows} | {_cell(cluster.model)} | {cluster.score:.3f} | {_cell(question)} |"
        )
    more = _left_out(len(about.clusters), "smaller clusters")
    fewer = _left_out(len(about.models), "further models")
    embedder = _cell(about.embeddings or "vectors that were given; name the embedder when you load it")
    parameters = "\n".join(f"- `{name}`: `{value!r}`" for name, value in about.parameters.items())
    named = f" of {len(tasks)} tasks ({', '.join(map(_cell, tasks[:20]))})" if tasks else ""
    calibrated = f"{state.calibration.n_rows:,} graded queries{named}"
    shown = "\n".join
    return f"""---
library_name: langchain-avengers
tags:
- llm-routing
- langchain
---

# Router over {len(about.models)} models

Sends a query to the model that did best on calibration queries like it: embed, find the cluster, take its
best model (arXiv 2505.19797). It holds scores and cluster centres, no language model.

- Calibrated on {calibrated}
- Clusters: {about.clusters_count}
- Embedder: {embedder}
- Fingerprint: `{about.fingerprint}`, made by langchain-avengers {__version__}

## Use

```python
from langchain_avengers import ClusterRouter

router = ClusterRouter.load("path/to/this/folder")
print(router.route("What is 7 + 5?").chosen)
```

## Models

Calibration score: mean over all calibration rows, in [0, 1].

{shown(models)}
{fewer}
## Clusters

Score: by the cluster's calibration rows, shrunk toward the model's mean.

{shown(clusters)}
{more}
## Parameters

{parameters}

Scores are those of the calibration rows, not of held-out ones: `avengers evaluate` judges a router on rows
it has not seen. Questions above are calibration queries; leave this file out where they are not to be shown.
"""


def _left_out(n: int, what: str) -> str:
    return f"\n{n - _MOST} {what} are not listed.\n" if n > _MOST else ""


def _cell(text: str, length: int = 80) -> str:
    """Text that breaks no table: one line, no bars, no markup."""
    words = shorten(text, length)
    for mark in "\\|`*_[]<>":
        words = words.replace(mark, "\\" + mark)
    return words
