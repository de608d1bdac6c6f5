"""What only one of the papers needs: its own experiments, and measurements for its figures.

| module   | paper                                 | what                                          |
|----------|---------------------------------------|-----------------------------------------------|
| `vib`    | Alemi et al. 2017, 1612.00410         | errors of one draw and of twelve; embeddings  |
| `aib`    | Zhai & Zhang 2021, 2103.00381         | the exact curve on the twelve-bit patterns    |
| `ib_rar` | Xu, Perin & Picek 2022, 2302.10896    | selection of robust layers                    |
| `imb`    | Nguyen & Choi 2017, 1712.01272        | the exact plane of binary layers in training  |

Measurements on the models of a run are stored in its folder `figures/` and not repeated.
"""
