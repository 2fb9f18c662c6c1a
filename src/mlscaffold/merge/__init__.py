"""The update of a project: Copier renders, git merges, and a plan is decided before it is done."""
