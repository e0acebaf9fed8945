"""Prometheus metrics of a server. Labels hold names of models, strategies and clusters, never content."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
)

CONTENT_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_SHARES = tuple(number / 10 for number in range(1, 11))


class Metrics:
    """The metrics of one server. With several processes, the variable `PROMETHEUS_MULTIPROC_DIR` names their folder."""

    def __init__(self) -> None:
        """Register them."""
        self._registry = registry = CollectorRegistry()

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"avengers_{name}", text, labels, registry=registry)

        def histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(f"avengers_{name}", text, labels, buckets=buckets, registry=registry)

        self.requests = counter("requests", "Requests by path and HTTP status.", "path", "status")
        self.answers = counter("answers", "Answers.", "model", "strategy", "cluster")
        self.seconds = histogram(
            "answer_seconds", "Time from request to whole answer.", _SECONDS, "model", "strategy"
        )
        self.tokens = counter("tokens", "Tokens of all calls to members.", "model", "direction")
        self.dollars = counter("dollars", "Known US dollars of all calls to members.", "model")
        self.confidence = histogram("vote_confidence", "Confidence of votes.", _SHARES, "strategy")
        self.failures = counter("member_failures", "Samples that were asked for and did not come.", "model")
        self.stand_ins = counter(
            "stand_ins", "Answers of a model that was not the router's first choice.", "model"
        )
        self.novel = counter("novel_queries", "Queries far from every cluster.")
        self.distance = histogram(
            "query_distance", "Distance to the nearest centroid: a shift says that queries drift.",
            tuple(number / 10 for number in range(1, 16)),
        )  # fmt: skip
        self.reloads = counter("router_reloads", "Times the router's folder changed.", "outcome")
        self.feedback = counter("feedback", "Feedback received.")
        self.at_work = Gauge(
            "avengers_requests_at_work", "Requests at work.", registry=registry, multiprocess_mode="livesum"
        )

    def answered(self, about: Mapping[str, Any], seconds: float) -> None:
        """Count an answer by what it says of itself."""
        decision, strategy, model = about["decision"], about["strategy"], about["model"]
        clusters = decision["clusters"]
        cluster = str(int(clusters[0][0])) if clusters else "novel"
        self.answers.labels(model, strategy, cluster).inc()
        self.seconds.labels(model, strategy).observe(seconds)
        if strategy != "direct":
            self.confidence.labels(strategy).observe(about["vote"]["confidence"])
        if decision["novel"]:
            self.novel.inc()
        self.distance.observe(decision["distance"])
        if about["answered_by"] == "sample" and model not in decision["chosen"]:
            self.stand_ins.labels(model).inc()
        self.spent(about["account"])
        for failure in about["failures"]:
            self.failures.labels(failure["model"]).inc()

    def spent(self, account: Mapping[str, Any]) -> None:
        """Count what calls to members came to."""
        for name, each in account["models"].items():
            if used := each["usage"]:
                self.tokens.labels(name, "input").inc(used["input_tokens"])
                self.tokens.labels(name, "output").inc(used["output_tokens"])
            if each["cost"]:
                self.dollars.labels(name).inc(each["cost"])

    def text(self) -> bytes:
        """The metrics as Prometheus reads them, of all processes together."""
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return generate_latest(self._registry)
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)
