"""All runs of a folder: listed by an index, checked, compared, exported and deleted.

`narrows.stored.index` imports nothing heavy, so that a list of ten thousand runs takes a second.
"""
