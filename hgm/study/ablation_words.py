from __future__ import annotations
def paragraphs(*a): return ["x"]
def tables(*a): return []
