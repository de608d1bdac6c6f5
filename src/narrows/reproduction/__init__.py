"""Tables and figures of the papers, made again: `narrows reproduce NAME`.

Each has a file in `tables/`: what the paper printed, which ordinary runs it is made from, how it is
measured, and the reasons, with their experiments, why a number differs.

| module        | what it does                                                      |
|---------------|-------------------------------------------------------------------|
| `tables`      | reads and checks these files                                      |
| `records`     | what was reproduced, as it is stored; the comparison of a cell    |
| `measures`    | the number of a column, for one trained model                     |
| `experiments` | experiments that are no run: the toys, planes of layers            |
| `carry`       | trains, measures, attacks, audits and stores; continues           |
| `overview`    | the list of all of them, and how many cells are covered           |
| `markdown`    | tables for the documentation, from stored records                 |

`tables`, `records`, `overview` and `markdown` load no PyTorch: a list is shown at once.
"""

from __future__ import annotations
