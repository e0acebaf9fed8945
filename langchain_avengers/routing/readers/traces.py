"""Traced runs with feedback, out of LangSmith."""

from __future__ import annotations

import json
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from langchain_avengers.errors import TableError
from langchain_avengers.routing.rows import RowBuilder, TableData

if TYPE_CHECKING:
    from langsmith import Client
    from langsmith.schemas import Run

_BATCH = 50
"""Runs whose feedback is asked for in one request; their ids stand in its address."""

_FIELDS = ("input", "question", "query", "prompt", "text")
_ROLES = {"human": "user", "ai": "assistant"}
_PAIR_ROLES = {"human", "user", "ai", "assistant", "system"}


def read_langsmith(
    project: str,
    *,
    feedback_key: str,
    client: Client | None = None,
    limit: int | None = None,
) -> TableData:
    """The runs of a project that have feedback, each as a row with one measured cell.

    The score is the mean of the run's feedback scores of that key, so that several reviewers count once. The
    model is the one that `response_metadata["avengers"]` of the run's output says answered, else the run's
    `ls_model_name`, else that of the model calls beneath it, where all name the same. The query is the run's
    chat messages, or its text input. The cost is the run's `total_cost`. A run with feedback but without such
    a model, query or score is left out, and a warning counts them.

    Args:
        project: Name of the LangSmith project.
        feedback_key: Key of the feedback, whose scores lie in [0, 1].
        client: LangSmith client; by default one from the environment.
        limit: At most so many runs, the newest.

    Raises:
        TableError: The project cannot be read, no run has such feedback, or a score is out of range.
    """
    if client is None:
        from langsmith import Client as DefaultClient

        client = DefaultClient()
    builder = RowBuilder()
    skipped: Counter[str] = Counter()
    try:
        has_feedback = f"eq(feedback_key, {json.dumps(feedback_key)})"
        runs = _runs(client, project, filter=has_feedback, limit=limit)
        scores = _scores(client, runs, feedback_key)
        for run in runs:
            query, model = _query(run.inputs), _model(client, project, run)
            where = f"LangSmith project {project}, run {run.id}"
            if str(run.id) not in scores:
                skipped["no score in the feedback"] += 1
            elif query is None:
                skipped["no query in the inputs"] += 1
            elif model is None:
                skipped["no one model named"] += 1
            else:
                cost = None if run.total_cost is None else float(run.total_cost)
                given = scores[str(run.id)]
                builder.add(where, query, {model: sum(given) / len(given)}, {model: cost})
    except TableError:
        raise
    except Exception as error:  # the client raises its own kinds, requests' and pydantic's
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise TableError(f"LangSmith project {project}: cannot be read: {reason}") from error
    if skipped:
        why = ", ".join(f"{count} with {reason}" for reason, count in sorted(skipped.items()))
        warnings.warn(f"{sum(skipped.values())} of {len(runs)} runs left out: {why}", stacklevel=3)
    if not len(builder):
        raise TableError(f"LangSmith project {project}: no run with feedback {feedback_key!r} became a row")
    return builder.build(f"LangSmith project {project}")


def _runs(client: Client, project: str, **query: Any) -> list[Run]:
    with warnings.catch_warnings():
        # its successor, client.runs.query, is async only and not on self-hosted servers before 0.16
        warnings.filterwarnings("ignore", message=r"list_runs\(\) is deprecated")
        return list(client.list_runs(project_name=project, **query))


def _scores(client: Client, runs: Sequence[Run], key: str) -> dict[str, list[float]]:
    scores: dict[str, list[float]] = defaultdict(list)
    for start in range(0, len(runs), _BATCH):
        ids = [run.id for run in runs[start : start + _BATCH]]
        for feedback in client.list_feedback(run_ids=ids, feedback_key=[key]):
            if feedback.score is not None:
                scores[str(feedback.run_id)].append(float(feedback.score))
    return scores


def _model(client: Client, project: str, run: Run) -> str | None:
    """The model that answered; asks for the model calls beneath a run that does not say."""
    name = _named(run)
    if name is None and run.run_type != "llm":
        names = {_named(call) for call in _runs(client, project, trace_id=run.trace_id, run_type="llm")}
        name = names.pop() if len(names) == 1 else None
    return name


def _named(run: Run) -> str | None:
    answers = [found for found in _find(run.outputs, "avengers") if isinstance(found, Mapping)]
    # of a conversation the last answer is the one that was judged
    name = (
        answers[-1].get("model")
        if answers
        else ((run.extra or {}).get("metadata") or {}).get("ls_model_name")
    )
    return name if isinstance(name, str) and name else None


def _query(inputs: Mapping[str, Any]) -> str | list[dict[str, Any]] | None:
    messages = inputs.get("messages")
    if isinstance(messages, str):
        messages = [messages]
    # a chat model's run holds a list of message lists, one a prompt
    if isinstance(messages, list) and len(messages) == 1 and isinstance(messages[0], list):
        messages = messages if _is_pair(messages[0]) else messages[0]
    if isinstance(messages, list) and messages:
        plain = [_message(message) for message in messages]
        if all(message is not None for message in plain) and any(m["role"] == "user" for m in plain if m):
            return [message for message in plain if message is not None]
        return None
    texts = [inputs[field] for field in _FIELDS if isinstance(inputs.get(field), str)]
    texts = texts or [value for value in inputs.values() if isinstance(value, str)]
    return texts[0] if len(texts) == 1 and texts[0].strip() else None


def _message(message: Any) -> dict[str, Any] | None:
    """A message as role and content.

    LangChain's serialized or dict form, OpenAI's, a pair such as `("human", "hi")`, which JSON makes a list, or a
    string, which is the human's.
    """
    if isinstance(message, str):
        return {"role": "user", "content": message}
    if _is_pair(message):
        return {"role": _ROLES.get(message[0], message[0]), "content": message[1]}
    if not isinstance(message, Mapping):
        return None
    if isinstance(message.get("kwargs"), Mapping):
        kind = str((message.get("id") or [""])[-1]).removesuffix("Chunk").removesuffix("Message").lower()
        message = {"type": kind, **message["kwargs"]}
    elif isinstance(message.get("data"), Mapping):
        message = {"type": message.get("type"), **message["data"]}
    role = message.get("role") or message.get("type")
    if not isinstance(role, str) or "content" not in message:
        return None
    return {"role": _ROLES.get(role, role), "content": message["content"]}


def _is_pair(message: Any) -> bool:
    """Whether a message is a pair of role and text."""
    pair = isinstance(message, list | tuple) and len(message) == 2
    return pair and all(isinstance(part, str) for part in message) and message[0] in _PAIR_ROLES


def _find(data: object, key: str) -> Iterator[Any]:
    """Every value under `key`, at any depth."""
    if isinstance(data, Mapping):
        if key in data:
            yield data[key]
        for value in data.values():
            yield from _find(value, key)
    elif isinstance(data, list):
        for value in data:
            yield from _find(value, key)
