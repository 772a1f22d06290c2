"""From SeqIO tasks to batches: prepare records once, plan a run over them, read batch(step).

* `records`: the files that hold the tokens of one rendering of one task's split.
* `prepare`: SeqIO -> records, locally in parallel or on Beam.
* `packing`, `plan`: which examples go into which row of which batch, as a function of the step.
* `loader`: reads what the plan says and lays it out for a model.
"""
