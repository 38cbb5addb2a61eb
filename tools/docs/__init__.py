"""What draws the documentation's pictures and tables."""
