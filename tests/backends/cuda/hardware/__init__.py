"""Trials on a GPU: what no pretended one can say, and what has to be known before the suite is run on a new machine.

Each runs in a process of its own with a time limit, so that a hang, or an error that CUDA does not recover from, costs
one trial and says which. Most are carried out on a pretended GPU as well, at small sizes: that they can pass, and fail,
is known before any GPU is met.
"""
