"""What is decided about the store itself: tokens, legal holds, erasures, and the trail of it all."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request

from runvis_core.api.state import principal_of, state_of
from runvis_core.services.answers import Page
from runvis_core.services.decision_answers import (
    AuditPage,
    AuditQuery,
    ErasureRequest,
    ErasureView,
    HoldRequest,
    HoldView,
    IssuedToken,
    RevokeRequest,
    TokenRequest,
    TokenView,
)
from runvis_core.services.decisions import list_audit
from runvis_core.services.erasure import erase
from runvis_core.services.holds import list_holds, place_hold, release_hold
from runvis_core.services.tokens import issue_token, list_tokens, revoke_token

router = APIRouter()

TokenId = Annotated[str, Path(max_length=100, description="The token's id, as the list has it.")]
HoldId = Annotated[str, Path(max_length=100, description="The hold's id, as the list has it.")]


@router.get("/audit")
def get_audit(request: Request, query: Annotated[AuditQuery, Query()]) -> AuditPage:
    """Return what people and tokens decided and did, newest first."""
    return list_audit(state_of(request).store, limit=query.limit, before=query.before, name=query.name)


@router.get("/tokens")
def get_tokens(request: Request) -> Page[TokenView]:
    """Return all tokens that were ever issued, newest first, without the tokens themselves."""
    return Page[TokenView](items=list_tokens(state_of(request).store))


@router.post("/tokens")
def post_token(request: Request, asked: TokenRequest) -> IssuedToken:
    """Issue a token. Only this answer shows it."""
    state = state_of(request)
    issued = issue_token(state.store, asked, principal=principal_of(request).name)
    state.issued.forget()
    return issued


@router.post("/tokens/{token_id}/revocation")
def post_revocation(request: Request, token_id: TokenId, asked: RevokeRequest) -> TokenView:
    """Revoke a token: this server refuses it from now on, others within two seconds."""
    state = state_of(request)
    revoked = revoke_token(state.store, token_id, principal=principal_of(request).name, reason=asked.reason)
    state.issued.forget()
    return revoked


@router.get("/holds")
def get_holds(request: Request) -> Page[HoldView]:
    """Return all legal holds that were ever placed, newest first."""
    return Page[HoldView](items=list_holds(state_of(request).store))


@router.post("/holds")
def post_hold(request: Request, asked: HoldRequest) -> HoldView:
    """Place a legal hold: nothing that it covers is erased until it is released."""
    return place_hold(state_of(request).store, asked, principal=principal_of(request).name)


@router.post("/holds/{hold_id}/release")
def post_release(request: Request, hold_id: HoldId, asked: RevokeRequest) -> HoldView:
    """Release a legal hold."""
    return release_hold(state_of(request).store, hold_id, principal=principal_of(request).name, reason=asked.reason)


@router.post("/erasures")
def post_erasure(request: Request, asked: ErasureRequest) -> ErasureView:
    """Erase bodies of a run with their salts, or say what would be erased. The log keeps their digests."""
    return erase(state_of(request).store, asked, principal=principal_of(request).name)
