"""What came of a training: scores, intervals, pictures, and the pages that show them."""
