"""What the runs left behind, and the paper's 25 tables rebuilt from it.

One result flows through these modules, in this order: a run's notebook glues values
with `store.scraps` and draws with `figures`; `statistics` makes table cells out of
trials; `runs` reads finished runs from disk; `paper` knows the published tables;
`reconstruction` puts ours beside them; `trials` is every trial in one table, of which
`claims` makes verdicts by the rules of `evidence`; `tables` and `sections` are HTML of
all that, which `summary.ipynb` shows, and `report` makes of that notebook a page.
"""
