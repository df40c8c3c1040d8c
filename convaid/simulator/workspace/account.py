"""What the platform tells of the account itself: nothing that changes here. A cheap way to try a key."""

from __future__ import annotations

from convaid.simulator.answers import Answer, Route

__all__ = ["ACCOUNT_ROUTES"]

SUBSCRIPTION = {
    "tier": "simulator",
    "character_count": 0,
    "character_limit": 1_000_000,
    "max_character_limit_extension": None,
    "max_credit_limit_extension": 0,
    "can_extend_character_limit": False,
    "allowed_to_extend_character_limit": False,
    "next_character_count_reset_unix": None,
    "voice_slots_used": 0,
    "professional_voice_slots_used": 0,
    "professional_voice_slots_used_in_workspace": 0,
    "voice_limit": 0,
    "max_voice_add_edits": None,
    "voice_add_edit_counter": 0,
    "professional_voice_limit": 0,
    "can_extend_voice_limit": False,
    "can_use_instant_voice_cloning": False,
    "can_use_professional_voice_cloning": False,
    "currency": None,
    "current_overage": {"amount": "0", "currency": "usd"},
    "status": "active",
    "billing_period": None,
    "character_refresh_period": None,
}
USER = {
    "user_id": "user_simulator",
    "subscription": SUBSCRIPTION,
    "is_new_user": False,
    "can_use_delayed_payment_methods": False,
    "is_onboarding_completed": True,
    "is_onboarding_checklist_completed": True,
    "created_at": 0,
    "seat_type": "workspace_admin",
}
EXTENDED_SUBSCRIPTION = SUBSCRIPTION | {
    "next_invoice": None,
    "open_invoices": [],
    "has_open_invoices": False,
    "pending_change": None,
}
SETTINGS = {
    "conversation_initiation_client_data_webhook": None,
    "webhooks": {"post_call_webhook_id": None, "events": ["transcript"]},
    "can_use_mcp_servers": False,
    "rag_retention_period_days": 10,
    "conversation_embedding_retention_days": None,
    "default_livekit_stack": "standard",
}
ACCOUNT_ROUTES = [
    Route("GET", "/v1/user", lambda _: Answer(200, USER)),
    Route("GET", "/v1/user/subscription", lambda _: Answer(200, EXTENDED_SUBSCRIPTION)),
    Route("GET", "/v1/convai/settings", lambda _: Answer(200, SETTINGS)),
]
