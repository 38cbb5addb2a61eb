"""The parts of a training report: its page, its plots, and the paper's published tables."""
