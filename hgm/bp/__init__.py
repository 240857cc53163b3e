"""Reference inference: exact belief propagation on any `Tree`, in the log domain and float64.

Two passes over the levels of the tree, no recursion: `collect` from the leaves to the roots, `distribute` back. With a
sum in them they give the partition function and all marginals, with a maximum the mode. It is slow and clear on
purpose: the compiled networks are held against it, so it shares no code with them.
"""
