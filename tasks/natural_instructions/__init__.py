"""Natural Instructions: tasks that state themselves, one JSON file a task.

* `super_ni`: the tasks of a Super-NaturalInstructions folder and the mixtures of its tracks.
* `ni_v1`: the subtasks of the first release and the mixtures of its splits.
* `index`: what such a folder holds, kept so that registering reads no instance.
"""
