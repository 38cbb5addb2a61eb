"""What a fuzzing campaign came to, and how it is told on the command line."""

import argparse
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Outcome:
    """What a run came to; `findings` are the files that broke the promise, with what happened."""

    executions: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    findings: list[tuple[str, bytes]] = field(default_factory=list)


def campaign(
    description: str,
    executions: int,
    fuzz: Callable[[int, int], Outcome],
    file_name: Callable[[int, str], str] = lambda number, what: f"{number}.bin",
) -> int:
    """Read how many executions and which seed are wanted, fuzz, print what came of it; return the exit code."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--executions", type=int, default=executions)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder for files that broke the promise")
    arguments = parser.parse_args()
    outcome = fuzz(arguments.executions, arguments.seed)
    print(f"{outcome.executions} executions, {len(outcome.findings)} findings")
    for name, count in sorted(outcome.counts.items()):
        print(f"  {name}: {count}")
    for number, (what, content) in enumerate(outcome.findings[:20]):
        print(f"  finding {number}: {what}")
        if arguments.keep:
            arguments.keep.mkdir(parents=True, exist_ok=True)
            (arguments.keep / file_name(number, what)).write_bytes(content)
    return 1 if outcome.findings else 0
