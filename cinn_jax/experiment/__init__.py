"""A config: its arguments, its recipes, and the flow and task it builds."""
