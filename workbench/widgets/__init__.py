"""Views that live in the browser: each is a Python class, an ES module and a style sheet."""
