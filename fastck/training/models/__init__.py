"""What is trained: the networks, the linear model, and what a computer needs to fit them."""
