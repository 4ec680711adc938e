"""Where in a medium each of its tokens lies: one short rule for each way of cutting media.

:mod:`omnitrace.models.families` says which processor follows which rule.
"""
