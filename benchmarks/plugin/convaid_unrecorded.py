"""Takes the journal of tool calls out of the daemon, so that what it costs shows. Nobody else should."""

from contextlib import nullcontext

import convaid.daemon

convaid.daemon.open_journal_of = lambda _: nullcontext()
