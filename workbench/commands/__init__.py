"""The sub-commands, one file each. Heavy modules are imported when a command runs, so that
`workbench --help` stays fast."""
