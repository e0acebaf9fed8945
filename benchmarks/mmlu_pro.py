"""MMLU-Pro's 14 subjects, one recorded answer a question: fourteen models of at most 8B, beside ones of 34B to 141B.

python -m benchmarks.mmlu_pro
"""

from __future__ import annotations

from benchmarks.recorded import run

AT_MOST_8B = (
    "Meta-Llama-3_1-8B-Instruct",
    "mathstral-7B",
    "Phi-3-mini-4k-instruct",
    "Meta-Llama-3_1-8B",
    "Meta-Llama-3-8B",
    "gemma-7b",
    "Mistral-7B-v0.1",
    "Mistral-7B-v0.2-hf",
    "Mistral-7B-Instruct-v0.2",
    "Yi-6b-Chat",
    "Qwen1.5-7B-Chat",
    "Yi-6B",
    "Mistral-7B-Instruct-v0.1",
    "Llama-2-7b-hf",
)
BESIDE = (
    "Yi-34B",
    "c4ai-command-r-v01",
    "Mixtral-8x7B-v0.1",
    "Llama-2-70b-hf",
    "Meta-Llama-3-70B",
    "Qwen1.5-72B-Chat",
    "jamba-1.5-large",
    "Qwen1.5-110B",
)


def main() -> None:
    run("mmlu_pro", AT_MOST_8B, BESIDE)


if __name__ == "__main__":
    main()
