"""Reports of what was judged: one model, and a writer for each form.

Every text of a caller is data: the writers escape it.
"""
