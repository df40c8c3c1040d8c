"""The platform's REST calls: signed URLs for conversations, and the tools and agents of a workspace (floor 2).

What it handles: a time limit over each whole call, bodies of bounded size, the machine's trusted certificates, answers
that are not what they should be, and the platform's error bodies in all their shapes. Only what reads is tried again.
"""

from convaid.rest.signed_url import fetch_signed_url, make_agent_query, make_authorization, mint_signed_url
from convaid.rest.workspace import PlatformTool, Workspace, open_workspace

__all__ = [
    "PlatformTool",
    "Workspace",
    "fetch_signed_url",
    "make_agent_query",
    "make_authorization",
    "mint_signed_url",
    "open_workspace",
]
