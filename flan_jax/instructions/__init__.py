"""The kit that instructed tasks are made with.

* `templates`, `options`: prompts with field substitution, OPTIONS suffixes, reversed templates.
* `draws`: stateless draws, so that a prompt depends on nothing but its four keys.
* `rendering`: what makes words of a raw example.
* `recipes`, `descriptions`: what shapes a task's prompts, for the fingerprint of prepared records.
* `cards`: what a task is, in words, for selectors, splits and reports.
* `registration`, `mixtures`: ordinary SeqIO tasks and mixtures out of all that.
* `vocabulary`: the one late vocabulary that every task shares.

Nothing here imports jax, and nothing heavy is imported before it is needed.
"""
