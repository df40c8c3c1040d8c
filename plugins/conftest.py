"""Which scenarios are no tests by themselves: those of tools that only a configuration makes.

The test_kit.py of each of these plugins writes one, and runs them with `convaid test`.
"""

collect_ignore = [f"{plugin}/scenarios" for plugin in ("command", "mcp", "webhook")]
