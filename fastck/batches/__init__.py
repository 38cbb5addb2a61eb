"""What feeds every framework: padded batches, gathered from memory-mapped features in one call."""
