"""Makes the bundled landmark model: rendered people with the 68 points of the field, and what is fitted to them."""
