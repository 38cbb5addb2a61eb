"""Folds side by side: joblib's processes, or whatever the caller's parallel_config says, and how far they are."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor
from contextlib import closing, contextmanager

from joblib import Parallel, delayed, effective_n_jobs
from joblib._parallel_backends import LokyBackend
from joblib.parallel import get_active_backend

from fastck.messages import Progress
from fastck.training.fold import FoldOutcome, FoldTask, fit_fold
from fastck.training.models.memory import MemoryPlan

# In a row, without a fold that was done in between.
MOST_DEATHS = 3
LOOK = 1.0  # seconds between two looks at how far the folds are


def fit_folds(tasks: Sequence[FoldTask], plan: MemoryPlan | None, n_jobs: int) -> Iterator[FoldOutcome]:
    """Fit folds side by side, in any order; those of a worker that dies go on from their last checkpoint.

    Raises
    ------
    OSError
        If workers die again and again.
    """
    left = [task for task in tasks if not task.done]
    deaths = 0
    while left:
        workers = Parallel(n_jobs=n_jobs, prefer="processes", return_as="generator_unordered", batch_size=1)
        try:
            # Each task is given out with the plan of that moment.
            with closing(workers(delayed(fit_fold)(task, plan) for task in left)) as outcomes:
                for outcome in outcomes:
                    deaths = 0
                    # What follows takes what fitted.
                    plan = outcome.plan if outcome.plan is not None and outcome.plan.halved else plan
                    yield outcome
        except Exception as error:
            # Dask, whose error the second one is, need not be installed.
            if not isinstance(error, BrokenExecutor) and type(error).__name__ != "KilledWorker":
                raise
            deaths += 1
            if deaths == MOST_DEATHS:
                raise OSError(
                    f"workers died {deaths} times before a fold was done, for want of memory perhaps: take fewer jobs "
                    "or a smaller micro_batch, and go on with --resume"
                ) from error
        left = [task for task in left if not task.done]


def jobs_that_fit(n_jobs: int, n_folds: int, plan: MemoryPlan | None) -> int:
    """Return how many folds are fitted at once on this machine: as many as asked for, as there are, as memory holds.

    The plan of a fold stays as it is, since other micro-batches would give other weights. Where the caller's
    parallel_config sends the work elsewhere, the memory is another machine's.
    """
    if not isinstance(get_active_backend(prefer="processes")[0], LokyBackend):
        return n_jobs
    at_once = min(int(effective_n_jobs(n_jobs)), n_folds)
    return at_once if plan is None else min(at_once, max(1, plan.budget // plan.total))


@contextmanager
def watched(tasks: Sequence[FoldTask], on_progress: Callable[[Progress], None]) -> Iterator[None]:
    """Say about once a second how many folds are done, from a thread: their files tell, whoever works on them."""
    over = threading.Event()

    def tell() -> None:
        done = sum((task.share_done() for task in tasks), 0.0)
        on_progress(Progress(done=done, total=len(tasks)))

    def watch() -> None:
        while not over.wait(LOOK):
            tell()

    tell()
    thread = threading.Thread(target=watch, daemon=True, name="fastck-progress")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        tell()
