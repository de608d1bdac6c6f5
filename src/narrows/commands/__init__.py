"""The commands, one file each, holding a `click.Command` called `command`.

Their modules import click alone; whatever is heavy, they import when they run.
"""
