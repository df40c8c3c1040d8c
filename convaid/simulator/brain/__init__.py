"""An agent that a language model plays: any server with OpenAI's chat completions decides what it says and calls.

What it handles: streaming, parallel tool calls, what the platform fills in, interruptions, contextual updates, a server
that is slow, wrong or not there. What it will not: recognise speech, run tools of other kinds than client tools, keep
more of a conversation than `history.LONGEST` messages.
"""
