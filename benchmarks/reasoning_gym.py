"""reasoning-gym's 86 tasks, three recorded answers a question: seven models together, beside three giants.

python -m benchmarks.reasoning_gym
"""

from __future__ import annotations

from benchmarks.recorded import load, run

BESIDE = ("anthropic_claude-sonnet-4", "deepseek_deepseek-r1", "openai_o3-mini")


def main() -> None:
    table, _ = load("reasoning_gym")
    run("reasoning_gym", [name for name in table.models if name not in BESIDE], BESIDE)


if __name__ == "__main__":
    main()
