"""Damaged and hostile versions of a saved router's files, from a seed.

`python -m tests.unit_tests.routing.mutations 30000` runs that many, and prints the counts, the longest time and the
greatest growth of memory.
"""

from __future__ import annotations

import copy
import json
import random
from hashlib import sha256
from typing import Any

NASTY = (
    None, True, False, 0, -1, 1, 2, 3, 1.5, -0.0, 10**9, 10**30, -(10**30), 10**400, 1e308, -1e308, 5e-324,
    "", "NaN", "auto", "\ud83d", "../../../etc/passwd", "a" * 100_000, "\x1b[2J", "1", "0.5",
    [], [[]], [[[]]], [None], ["a"], [0], [1e308], {}, {"a": 1}, {"": None}, [[1.0] * 50] * 50, [{}],
)  # fmt: skip
RAW = (
    b"NaN", b"Infinity", b"-Infinity", b"1e999", b"[" * 5_000, b'{"a":' * 5_000, b"9" * 5_000, b"\xff\xfe", b"\x00",
    b"\\ud83d", b'"', b"}", b",", b"/**/", b"0x10", b"1_000",
)  # fmt: skip


def places(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all parts of a parsed file."""
    found = [path] if path else []
    children = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, child in children:
        found += places(child, (*path, key))
    return found


def mutate_json(text: bytes, rng: random.Random) -> bytes:
    """One to three changes of values, or of bytes."""
    if rng.random() < 0.2:
        data = bytearray(text)
        for _ in range(rng.randint(1, 3)):
            where = rng.randrange(len(data) or 1)
            how = rng.random()
            if how < 0.4 and data:
                data[where] = rng.randrange(256)
            elif how < 0.7:
                data[where:where] = rng.choice(RAW)
            else:
                del data[where : where + rng.choice((1, 10, 1_000))]
        return bytes(data) or b" "
    tree = copy.deepcopy(json.loads(text))
    for _ in range(rng.randint(1, 3)):
        # a place at random by depth, so that the long lists of sums are not all that is changed
        path: tuple[Any, ...] = ()
        node = tree
        while isinstance(node, dict | list) and node and (not path or rng.random() < 0.7):
            key = rng.choice(list(node)) if isinstance(node, dict) else rng.randrange(len(node))
            path, parent, node = (*path, key), node, node[key]
        if not path:
            break
        how = rng.random()
        if how < 0.6:
            parent[path[-1]] = copy.deepcopy(rng.choice(NASTY))
        elif how < 0.8:
            del parent[path[-1]]
        elif isinstance(parent, list):
            parent.insert(path[-1], copy.deepcopy(node))
        else:
            parent[str(path[-1]) + "2"] = parent.pop(path[-1])
    return json.dumps(tree).encode()


def mutate_array(payload: bytes, rng: random.Random) -> bytes:
    """A changed header or changed numbers."""
    how = rng.random()
    if how < 0.4:
        rows, columns = rng.choice([0, -1, 10**12, 10**30, 3]), rng.choice([4, 10**12, 0, "True", "'a'"])
        header = rng.choice(
            [
                f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {columns}), }}",
                "{'descr': '|O', 'fortran_order': False, 'shape': (3, 4), }",
                "{'descr': '<f8', 'fortran_order': True, 'shape': (3, 4), }",
                "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (12,), }",
                "{'descr': '<U4000000000', 'fortran_order': False, 'shape': (1,), }",
                "(" * 3_000 + ")" * 3_000,
                "__import__('os').system('true')",
            ]
        ).encode()
        header += b" " * (63 - (len(header) + 10) % 64) + b"\n"
        return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + payload[128:]
    data = bytearray(payload)
    for _ in range(rng.randint(1, 4)):
        where = rng.randrange(len(data) or 1)
        if how < 0.8 and data:
            data[where] = rng.randrange(256)
        else:
            del data[where : where + rng.choice((1, 4, 100))]
    return bytes(data) or b" "


def mutate(router: bytes, array: bytes, seed: int) -> tuple[bytes, bytes]:
    """A damaged `router.json` and `centroids.npy`; mostly with a digest that fits, as an attacker would write it."""
    rng = random.Random(seed)
    if rng.random() < 0.75:
        return mutate_json(router, rng), array
    array = mutate_array(array, rng)
    if rng.random() < 0.9:
        fields = json.loads(router)
        fields["array"]["sha256"] = sha256(array).hexdigest()
        router = json.dumps(fields).encode()
    return router, array


def main() -> None:
    import resource
    import sys
    import tempfile
    import time
    from collections import Counter
    from pathlib import Path

    from tests.unit_tests.routing.test_hostile_artifacts import check, originals

    counts: Counter[str] = Counter()
    slowest = 0.0
    kinds = originals()
    with tempfile.TemporaryDirectory() as folder:
        check(Path(folder), *kinds[0])  # what a first call imports is not the attack's
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for seed in range(int(sys.argv[1])):
            start = time.perf_counter()
            try:
                counts[check(Path(folder), *mutate(*kinds[seed % len(kinds)], seed))] += 1
            except Exception as error:
                counts["untyped"] += 1
                print(f"seed {seed}: {type(error).__name__}: {error}"[:200])
            slowest = max(slowest, time.perf_counter() - start)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(dict(counts), f"slowest {slowest:.2f} s, memory +{grown / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
