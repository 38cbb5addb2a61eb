"""Which sequences are trained on, validated and tested, and what a sample is."""
