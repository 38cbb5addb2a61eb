"""How far probabilities can be believed: the expected calibration error, and a temperature that lowers it."""

import numpy as np

BINS = 15  # Guo et al. (2017)
# A few validating sequences, all of them right, would ask for a temperature of 0: probabilities of nothing but 0 and 1.
# On rendered people 1 gives a lower error than 0.5, for networks and the linear model (docs/how-to/training.md).
COLDEST, HOTTEST = 1.0, 20.0
TINY = 1e-12  # a probability that float32 rounded to 0


def calibration_error(probabilities: np.ndarray, true: np.ndarray, *, bins: int = BINS) -> float:
    """Expected calibration error: how far the probability of the predicted class is from the share that is right.

    Parameters
    ----------
    probabilities : ndarray of shape (N, C)
        Probabilities of each sequence's classes; N >= 1.
    true : ndarray of shape (N,), int
        True class indices.
    bins : int
        Equally wide bins of the highest probability.

    Returns
    -------
    error : float
        0 to 1: the mean over the bins, weighted by their sequences, of |share that is right - mean probability|.

    References
    ----------
    Guo, C., Pleiss, G., Sun, Y., Weinberger, K. Q. (2017), On calibration of modern neural networks, ICML.
    """
    probabilities = np.asarray(probabilities, dtype=np.float64)
    surest = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == np.asarray(true)
    # Bins are open on the left: (0, 1/15], (1/15, 2/15], ...
    bin_of = np.clip(np.ceil(surest * bins).astype(np.int64) - 1, 0, bins - 1)
    gaps = np.bincount(bin_of, weights=right - surest, minlength=bins)
    return float(np.abs(gaps).sum() / len(surest))


def with_temperature(probabilities: np.ndarray, temperature: float | np.ndarray) -> np.ndarray:
    """Return softmax(logits / temperature) of the probabilities softmax(logits).

    Parameters
    ----------
    probabilities : ndarray of shape (N, C)
        Of a softmax.
    temperature : float or ndarray of shape (N, 1)
        Above 1 brings the probabilities nearer to each other.

    Returns
    -------
    probabilities : ndarray of shape (N, C), float64
    """
    logits = np.log(np.maximum(np.asarray(probabilities, dtype=np.float64), TINY)) / temperature
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def fit_temperature(probabilities: np.ndarray, true: np.ndarray, *, coldest: float = COLDEST) -> float:
    """Return the temperature under which the true classes are the most likely (Guo et al., 2017).

    Parameters
    ----------
    probabilities : ndarray of shape (N, C)
        Uncalibrated probabilities of sequences that were not trained on; N >= 1.
    true : ndarray of shape (N,), int
        True class indices.
    coldest : float
        Lowest temperature, above 0. Below 1 is for many sequences, some of them wrong.

    Returns
    -------
    temperature : float
        `coldest` to HOTTEST.
    """
    from scipy.optimize import minimize_scalar

    rows = np.arange(len(true))

    def loss(log_temperature: float) -> float:
        calibrated = with_temperature(probabilities, float(np.exp(log_temperature)))
        return float(-np.log(np.maximum(calibrated[rows, true], TINY)).mean())

    found = minimize_scalar(loss, bounds=(np.log(coldest), np.log(HOTTEST)), method="bounded")
    return float(np.exp(found.x))
