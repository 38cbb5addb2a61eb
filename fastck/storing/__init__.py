"""How a store comes about: its plan, its journal, its files, and its way into other formats."""
