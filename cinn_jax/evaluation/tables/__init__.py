"""Tables of results as text, markup, JSON and pages."""
