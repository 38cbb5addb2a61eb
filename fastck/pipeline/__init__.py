"""Bulk preprocessing: sequences -> boxes -> crops -> features -> a store, on all cores."""
