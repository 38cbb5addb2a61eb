"""What is in a data set's folders: the walk, the order of frames, the labels, and what is odd."""
