"""What a training run is asked for: phases, models, classes, and the shape of what a network sees."""
