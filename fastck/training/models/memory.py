"""How much memory training takes, and how to make it fit: micro-batches, accumulated gradients, rematerialisation.

Arithmetic only; the factors that a backend decides are named below, and which of them were measured.
"""

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from fastck.training.settings.shape import NetworkShape

# Keras' backends as people write them.
NAMES = {"tensorflow": "TensorFlow", "jax": "JAX", "torch": "PyTorch"}
FLOAT = 4  # bytes of a float32
GIB = 2**30


@dataclass(frozen=True, kw_only=True)
class Factors:
    """What a backend takes.

    Attributes
    ----------
    framework : int
        Bytes of Python, the backend and its compiled step before any data.
    per_fit : int
        Bytes that stay of each network that a process has trained before.
    kept, kept_remat : float
        State-sized tensors the recurrent layer keeps of each step for the backward pass, and with gradient
        checkpointing.
    working : float
        State-sized tensors alive within one step.
    skips : bool
        Whether steps in front of a sequence take nothing.
    """

    framework: int
    per_fit: int
    kept: float
    kept_remat: float
    working: float
    skips: bool


# Measured on x86-64 CPUs with TensorFlow 2.21 and Keras 3.15 (peak resident memory of a process that trains). The other
# two are taken to need as much: with 8 sequences of phases 3 and 5 they took 0.8 to 1.13 times the plan
# (`python -m benchmarks.backends`); the other phases were not measured.
_TENSORFLOW = Factors(framework=900 * 2**20, per_fit=25 * 2**20, kept=9.0, kept_remat=2.0, working=14.0, skips=True)
FACTORS = {"tensorflow": _TENSORFLOW, "jax": replace(_TENSORFLOW, skips=False), "torch": _TENSORFLOW}
UPDATE_COPIES = 5.0  # parameter-sized temporaries in Adam's update
INPUT_COPIES = 4.0  # input batches alive: two prefetched, one being gathered, one being computed
SHARE = 0.85  # of the device's memory that a plan may use by default; the rest is the system's


@dataclass(frozen=True, kw_only=True)
class MemoryPlan:
    """What training will hold in memory, in bytes, and how it is cut.

    Attributes
    ----------
    parameters : int
        Number of trainable parameters.
    weights, optimizer, gradients, accumulators, update : int
        Parameters, Adam's two moments, the gradient of one micro-batch, the sum of gradients so far, and temporaries of
        Adam's update.
    activations, inputs : int
        Of one micro-batch.
    framework : int
        What the process needs before any of that, and what the backend keeps of networks that were trained before.
    budget : int
        What was allowed.
    batch_size, micro_batch, micro_batches : int
        Sequences per optimizer step, sequences in memory at once, and micro-batches per optimizer step.
    remat : bool
        Whether the recurrent layer recomputes its activations in the backward pass (gradient checkpointing).
    backend : str
        Keras' backend that it is for.
    device : str
        Whose memory `budget` is.
    halved : bool
        Whether the device had no memory left and the micro-batch was halved.
    """

    parameters: int
    weights: int
    optimizer: int
    gradients: int
    accumulators: int
    update: int
    activations: int
    inputs: int
    framework: int
    budget: int
    batch_size: int
    micro_batch: int
    micro_batches: int
    remat: bool
    backend: str = "tensorflow"
    device: str = "CPU"
    halved: bool = False

    @property
    def total(self) -> int:
        """Estimated peak in bytes.

        Adam's temporaries come on top of the activations: those are free by then, but the C library keeps such small
        pieces for the next step instead of giving them back.
        """
        lasting = self.weights + self.optimizer + self.gradients + self.accumulators + self.inputs + self.framework
        return lasting + self.activations + self.update

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values, the total among them."""
        return {**asdict(self), "total": self.total}

    def half(self) -> "MemoryPlan":
        """Return the plan with micro-batches half as large."""
        size = -(-self.micro_batch // 2)
        return replace(
            self,
            micro_batch=size,
            micro_batches=-(-self.batch_size // size),
            accumulators=self.gradients,
            activations=self.activations * size // self.micro_batch,
            inputs=self.inputs * size // self.micro_batch,
            halved=True,
        )

    def text(self) -> str:
        """Return the plan as lines for people."""
        entries = [
            (f"parameters ({self.parameters:,})", self.weights),
            ("Adam's moments", self.optimizer),
            ("gradients", self.gradients),
            ("accumulated gradients", self.accumulators),
            ("Adam's update", self.update),
            (f"activations of {self.micro_batch}", self.activations),
            ("input", self.inputs),
            (NAMES[self.backend], self.framework),
            ("estimated peak", self.total),
            ("allowed" if self.device == "CPU" else f"allowed ({self.device})", self.budget),
        ]
        lines = [f"  {name:<32} {size / GIB:8.2f} GiB" for name, size in entries if size]
        cut = f"batches of {self.batch_size}"
        if self.micro_batches > 1:
            cut += f" in {self.micro_batches} micro-batches of {self.micro_batch}, gradients accumulated"
        if self.remat:
            cut += ", activations of the recurrent layer recomputed in the backward pass"
        return "\n".join(["memory plan", *lines, f"  {cut}"])


@dataclass(frozen=True, kw_only=True)
class Room:
    """What a process may use, and what it trains with.

    Attributes
    ----------
    budget : int
        Bytes allowed.
    backend : {"tensorflow", "jax", "torch"}
        Keras' backend.
    device : str
        Whose memory `budget` is, for the plan's text.
    fits : int
        Networks that the process trains, one after the other.
    """

    budget: int
    backend: str = "tensorflow"
    device: str = "CPU"
    fits: int = 1


def plan_memory(
    shape: NetworkShape,
    room: Room | None = None,
    *,
    batch_size: int = 64,
    micro_batch: int | None = None,
    remat: bool | None = None,
    active_steps: Sequence[int] | None = None,
) -> MemoryPlan:
    """Choose the largest micro-batch that fits, rematerialising only where nothing else does.

    Parameters
    ----------
    shape : NetworkShape
        Dimensions of the network.
    room : Room, optional
        None takes 85 % of `device_memory()`.
    batch_size : int
        Sequences of one optimizer step.
    micro_batch : int, optional
        Sequences in memory at once; None chooses.
    remat : bool, optional
        None chooses.
    active_steps : sequence of int, optional
        Steps that the recurrent layer works on in each training sequence; all `timesteps` by default. The fused
        layer leaves the zero frames in front out.

    Returns
    -------
    plan : MemoryPlan

    Raises
    ------
    ValueError
        If nothing fits.
    """
    room = Room(budget=int(SHARE * device_memory())) if room is None else room
    sizes = [micro_batch] if micro_batch else _micro_batches(batch_size)
    plan = None
    for keep in [False, True] if remat is None else [remat]:
        for size in sizes:
            steps = _worst_steps(active_steps if FACTORS[room.backend].skips else None, size, shape.worked_steps)
            plan = _estimate(shape, room, batch_size=batch_size, micro_batch=size, remat=keep, steps=steps)
            if plan.total <= room.budget:
                return plan
    if plan is None:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    raise ValueError(
        f"training needs about {plan.total / GIB:.1f} GiB even in micro-batches of {plan.micro_batch}, "
        f"{room.budget / GIB:.1f} GiB are allowed; allow more with memory, or take fewer filters or dense units"
    )


def _micro_batches(batch_size: int) -> list[int]:
    """Sizes that cut a batch into 1, 2, 4, ... pieces, largest first."""
    sizes = []
    pieces = 1
    while pieces < 2 * batch_size:
        sizes.append(-(-batch_size // min(pieces, batch_size)))
        pieces *= 2
    return list(dict.fromkeys(sizes))


def _worst_steps(active_steps: Sequence[int] | None, size: int, timesteps: int) -> float:
    """Mean steps of the costliest micro-batch that can be drawn."""
    if not active_steps:
        return timesteps
    longest = sorted(active_steps, reverse=True)[:size]
    return sum(longest) / len(longest)


def _estimate(
    shape: NetworkShape, room: Room, *, batch_size: int, micro_batch: int, remat: bool, steps: float
) -> MemoryPlan:
    factors = FACTORS[room.backend]
    parameters = shape.parameters
    micro_batches = -(-batch_size // micro_batch)
    state = FLOAT * shape.state_size * micro_batch
    kept = factors.kept_remat if remat else factors.kept
    return MemoryPlan(
        parameters=parameters,
        weights=FLOAT * parameters,
        optimizer=2 * FLOAT * parameters,
        gradients=FLOAT * parameters,
        accumulators=FLOAT * parameters if micro_batches > 1 else 0,
        update=int(UPDATE_COPIES * FLOAT * parameters),
        activations=int((kept * steps + factors.working) * state),
        inputs=int(INPUT_COPIES * FLOAT * shape.input_size * micro_batch),
        framework=factors.framework + factors.per_fit * (room.fits - 1),
        budget=room.budget,
        batch_size=batch_size,
        micro_batch=micro_batch,
        micro_batches=micro_batches,
        remat=remat,
        backend=room.backend,
        device=room.device,
    )


def device_memory() -> int:
    """Bytes of memory this process may have: the machine's, or its control group's where that is less.

    What is free just now does not count, so that the same machine always gives the same plan.
    """
    sizes = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for limit in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            sizes.append(int(Path(limit).read_text()))
        except (OSError, ValueError):  # no such group, or "max"
            continue
    return min(sizes)
