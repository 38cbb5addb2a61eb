"""From a store to a trained network and its report."""
