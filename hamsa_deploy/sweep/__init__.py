"""One model in several precisions for several targets: every bundle built, compared and timed, and the best named.

cells (what is built) -> digest (is it there already?) -> run (build the rest, time all in turn)
    -> pareto (which of them no other one beats) -> record (sweep.json), plot (pareto.svg)
"""
