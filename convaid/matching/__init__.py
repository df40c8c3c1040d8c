"""The tools offered here, held against the platform: what does not fit, and how to make it fit (floor 5).

Code is the one definition of a tool; the platform has a copy, which anybody may change on the dashboard. This finds
where the two have come apart, and brings the platform's up to date. What it never does: change or delete a tool that
somebody else made, unless told to adopt it; take away what was set on the dashboard alone.
"""
