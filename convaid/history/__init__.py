"""Transcripts: what was said and done in each session, how it ended and what it cost, kept in a file (floor 6).

What it handles: corrections, so that a turn is what was really heard; a disk that is full, slow or locked, and a file
that is taken away, all without holding a conversation up; a crash, after which the next daemon marks what was cut off;
several daemons with one state folder; readers at any time. While entries cannot be written, `WAITING` of them wait in
memory; what comes then is lost, and counted in the log, in the status and in the transcript itself.

What it will not: keep audio, or what the platform's own tools do; know what is private beyond the shapes that
`convaid.history.masking` recognises.
"""
