"""The card of a saved router: the README.md beside it, as model hubs show it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from langchain_avengers._text import shorten

if TYPE_CHECKING:
    from langchain_avengers.routing.router import ClusterRouter

_MOST = 40  # clusters or models listed; a card is read, not searched


def router_card(router: ClusterRouter) -> str:
    """A router's card in Markdown, with the front matter hubs read.

    It says what calibration says: models, clusters and where each goes, parameters, and how to load it. It
    makes no claim about held-out rows: that is what an evaluation is for.

    Args:
        router: A fitted router.
    """
    from langchain_avengers import __version__

    counts = router.cluster_counts_.max(axis=1)
    scores = np.asarray(router.cluster_scores_, float)
    best = scores.argmax(axis=1)
    tops = np.bincount(best, minlength=len(router.models_))
    tasks = sorted({task for cluster in router.cluster_tasks_ for task in cluster})
    n_rows = getattr(router, "n_rows_", int(counts.sum()))
    embedder = router.embeddings_name or "vectors that were given; name the embedder when you load it"
    priced = not np.isnan(np.asarray(router.cluster_costs_, float)).all()

    models = [
        "| model | calibration score | best in clusters |" + (" $ per 1000 answers |" if priced else "")
    ]
    models.append("|---|---:|---:|" + ("---:|" if priced else ""))
    weights = router.cluster_counts_ / np.maximum(router.cluster_counts_.sum(axis=0), 1)
    for index in sorted(
        range(len(router.models_)), key=lambda i: (-router.global_scores_[i], router.models_[i])
    )[:_MOST]:
        line = f"| {_cell(router.models_[index])} | {router.global_scores_[index]:.3f} | {tops[index]} |"
        if priced:
            cost = float((np.nan_to_num(router.cluster_costs_) * weights).sum(axis=0)[index])
            line += f" {1000 * cost:.4g} |" if not np.isnan(router.cluster_costs_[:, index]).all() else " - |"
        models.append(line)
    clusters = [
        "| cluster | rows | best model | its score | a question in it |",
        "|---:|---:|---|---:|---|",
    ]
    for cluster in np.argsort(-counts, kind="stable")[:_MOST]:
        question = router.examples_[cluster][0] if router.examples_[cluster] else "-"
        model = router.models_[best[cluster]]
        clusters.append(
            f"| {cluster} | {counts[cluster]} | {_cell(model)} | {scores[cluster].max():.3f} | {_cell(question)} |"
        )
    more = f"\n{len(counts) - _MOST} smaller clusters are not listed.\n" if len(counts) > _MOST else ""
    fewer = (
        f"\n{len(router.models_) - _MOST} further models are not listed.\n"
        if len(router.models_) > _MOST
        else ""
    )
    parameters = "\n".join(f"- `{name}`: `{value!r}`" for name, value in router.get_params().items())
    about = f"{n_rows:,} graded queries" + (
        f" of {len(tasks)} tasks ({', '.join(tasks[:20])})" if tasks else ""
    )
    shown = "\n".join
    return f"""---
library_name: langchain-avengers
tags:
- llm-routing
- langchain
---

# Router over {len(router.models_)} models

Sends a query to the model that did best on calibration queries like it: embed, find the cluster, take its
best model (arXiv 2505.19797). It holds scores and cluster centres, no language model.

- Calibrated on {about}
- Clusters: {router.n_clusters_}
- Embedder: {embedder}
- Fingerprint: `{router.fingerprint_}`, made by langchain-avengers {__version__}

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


def _cell(text: str, length: int = 80) -> str:
    """Text that breaks no table: one line, no bars, no markup."""
    words = shorten(text, length)
    for mark in "\\|`*_[]<>":
        words = words.replace(mark, "\\" + mark)
    return words
