"""A course on arenas: eight labs, each one text from which every form of it is built.

source     a lab's text: tasks, starter code, checks, hidden tests, solutions, common mistakes
checks     what checks say about a run: faults, dropped stores, casts, and in good words
build      notebooks for students, for otter-grader and for nbgrader
guide      the instructor's page
check      run a student's notebook and say what each task is worth
"""
