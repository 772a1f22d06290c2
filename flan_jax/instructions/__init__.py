"""The kit that instructed tasks are made with.

* `templates`, `options`: prompts with field substitution, OPTIONS suffixes, reversed templates.
* `schema`, `encodings`: the declarative schema (definition, positive and negative examples).
* `rendering`: stateless draws, so that a prompt depends on nothing but its four keys.
* `cards`: what a task is, in words, for selectors, splits and reports.
* `registration`, `mixtures`: ordinary SeqIO tasks and mixtures out of all that.
* `vocabulary`: the one late vocabulary that every task shares.

Nothing here imports jax, and nothing heavy is imported before it is needed.
"""
