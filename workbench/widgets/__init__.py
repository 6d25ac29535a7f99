"""Views that live in the browser: each is a Python class, an ES module and a style sheet.

views      what a recording's methods show
stepper    a run, forward and back; the pages of its arena
enriched   a recording with what only a view needs: findings, and what the verifier knew
aligned    two runs in one view, beside each other
"""
