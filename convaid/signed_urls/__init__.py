"""`convaid serve-signed-url`: hands signed URLs to browsers and other programs, which have no API key (floor 6).

What it handles: which agents (those of the configuration alone), whose pages (exact origins), a shared secret, how
often, how many connections, what the platform refuses, the end.

What it will not: TLS (a reverse proxy in front does that), log in users, start conversations, log or keep a URL.
"""
