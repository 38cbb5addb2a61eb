"""Live results as lines of text."""

from collections.abc import Iterator

from fastck.recognition.live.stages import STAGES, LiveResult, Totals

EVERY = 25  # results between two lines while the emotion stays the same


def lines(results: Iterator[LiveResult], totals: Totals) -> Iterator[str]:
    """Yield a line when the emotion changes, and about once a second; count all results into `totals`."""
    before: str | None = None
    since = 0
    for result in results:
        totals.add(result)
        said = said_emotion(result)
        since += 1
        if said != before or since >= EVERY:
            before, since = said, 0
            yield result_line(result)


def said_emotion(result: LiveResult) -> str:
    """Return the emotion's name, "unsure" or "no face"."""
    if result.reading is None:
        return "no face"
    return result.reading.emotion or "unsure"


def result_line(result: LiveResult) -> str:
    """Return one result: frame, emotion, probability, time of each stage, delay, dropped frames, reference, extras."""
    share = "" if result.reading is None else f"{100 * result.reading.probabilities.max():.0f} %"
    line = (
        f"frame {result.number:<5} {said_emotion(result):<9} {share:>5}   {stage_text(result.milliseconds)}   "
        f"delay {result.delay:.0f} ms   dropped {result.dropped}"
    )
    if result.reference is not None:
        line += f"   reference {result.reference}"
    if result.marks is not None:
        from fastck.recognition.marks import said_turn

        line += f"   {said_turn(result.marks)}"
    if result.units is not None:
        strongest = sorted((name for name in result.units if "_" not in name), key=result.units.__getitem__)[:-4:-1]
        line += "   " + ", ".join(f"{name} {result.units[name]:.1f}" for name in strongest)
    return line


def totals_line(totals: Totals) -> str:
    """Return a run's sums in one line."""
    n = max(totals.results, 1)
    means = {stage: taken / n for stage, taken in totals.milliseconds.items()}
    return (
        f"{totals.results} frames looked at, {totals.faces} with a face, {totals.dropped} dropped; {stage_text(means)} "
        f"a frame; delay {totals.delay / n:.0f} ms, longest {totals.longest_delay:.0f} ms"
    )


def stage_text(milliseconds: dict[str, float]) -> str:
    """Return what each stage took."""
    stages = dict.fromkeys((*STAGES, *milliseconds))
    return ", ".join(f"{stage} {milliseconds.get(stage, 0.0):.1f} ms" for stage in stages)
