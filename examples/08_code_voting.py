"""Code is voted by what it does: samples are run in a sandbox, and those that behave alike are one candidate.

Needs Linux with namespaces (see docs/security.md). Offline the samples are scripted: three right answers in three
wordings, and two equal wrong ones, which a vote by wording would elect.
"""

from _offline import OFFLINE, models, router
from langchain_core.language_models import FakeListChatModel

from langchain_avengers import ChatAvengers

WRONG = "```python\ndef median(xs: list[int]) -> float:\n    return sorted(xs)[len(xs) // 2]\n```"
RIGHT = [
    "```python\nimport statistics\ndef median(xs: list[int]) -> float:\n    return statistics.median(xs)\n```",
    "```python\ndef median(xs: list[int]) -> float:\n    s, n = sorted(xs), len(xs)\n"
    "    return s[n // 2] if n % 2 else (s[n // 2 - 1] + s[n // 2]) / 2\n```",
    "```python\ndef median(xs: list[int]) -> float:\n    s = sorted(xs)\n    half = len(s) // 2\n"
    "    return (s[half] + s[~half]) / 2\n```",
]
QUESTION = (
    "Write a Python function median(xs) that returns the median of a list of integers, which is never empty."
)

pool = models()
if OFFLINE:
    pool["words"] = FakeListChatModel(responses=[WRONG, RIGHT[0], WRONG, RIGHT[1], RIGHT[2]])
model = ChatAvengers(router=router(), models=pool, allowed_models=["words"], n_samples=5, allow_code=True)
message = model.invoke(QUESTION)
vote = message.response_metadata["avengers"]["vote"]
print(message.text)
for candidate in vote["tally"]:
    print(f"{candidate['count']} samples: {candidate['value']}")
print(f"voter: {vote['voter']}, confidence: {vote['confidence']:.2f}")
