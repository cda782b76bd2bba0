"""A web service (FastAPI) that signs links in bulk, and that streams the digests of objects as they arrive.

pip install fastapi uvicorn
BUCKET=my-bucket uvicorn --app-dir examples web_service:app
curl -H 'content-type: application/json' -d '{"keys": ["a.txt", "b.txt"]}' http://127.0.0.1:8000/links
curl -H 'content-type: application/json' -d '{"keys": ["a.txt", "b.txt"]}' http://127.0.0.1:8000/digests

Add a check of who may ask, before others can reach it: a link gives access to its object.
"""

import hashlib
import json
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel, Field

import bulkpresign as bp

BUCKET = os.environ["BUCKET"]
logger = logging.getLogger("uvicorn.error")


class Wanted(BaseModel):
    """The body of a request: keys of the one bucket that this service signs for."""

    keys: Annotated[list[str], Field(min_length=1, max_length=100_000)]
    method: bp.Method = "GET"
    expires_in: int = 900


class SignedLink(BaseModel):
    """One permitted request. Its headers must be sent as they are."""

    key: str
    method: str
    url: str
    headers: dict[str, str]
    expires_at: datetime | None


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, Any]]:
    """One Presigner for the life of the service. It reads the AWS chain once, and renews credentials as they lapse."""
    async with bp.Presigner() as presigner:
        yield {"presigner": presigner}


def opened(request: Request) -> bp.Presigner:
    presigner: bp.Presigner = request.state.presigner
    return presigner


app = FastAPI(lifespan=lifespan)
Signing = Annotated[bp.Presigner, Depends(opened)]


@app.exception_handler(bp.CredentialsError)
@app.exception_handler(bp.RegionError)
async def not_now(_: Request, error: Exception) -> JSONResponse:
    """The response where the service can't sign. Why is for its log: the message may tell how it gets credentials."""
    logger.error("nothing can be signed: %s", error)
    return JSONResponse({"detail": "links can't be signed at the moment"}, status_code=503)


@app.exception_handler(bp.InputError)
async def refuse(_: Request, error: Exception) -> JSONResponse:
    """The response for input that can't be signed, such as a key that is too long or a lifetime over seven days."""
    return JSONResponse({"detail": str(error)}, status_code=422)


@app.post("/links")
async def links(wanted: Wanted, presigner: Signing) -> list[SignedLink]:
    """One link a key, in order. `sign` gives way to other requests between its batches."""
    objects = (bp.ObjectRef(BUCKET, key) for key in wanted.keys)
    return [
        SignedLink(
            key=link.object.key,
            method=link.method,
            url=link.url,
            headers=dict(link.headers),
            expires_at=link.expires_at,
        )
        async for batch in presigner.sign(objects, wanted.method, expires_in=wanted.expires_in)
        for link in batch
    ]


@app.post("/digests")
async def digests(wanted: Wanted, presigner: Signing) -> StreamingResponse:
    """A JSON line an object, as soon as its bytes are here and verified. A client that leaves ends the downloads."""
    return StreamingResponse(digest_lines(wanted.keys, presigner), media_type="application/x-ndjson")


async def digest_lines(keys: list[str], presigner: bp.Presigner) -> AsyncIterator[str]:
    objects = [bp.ObjectRef(BUCKET, key) for key in keys]
    async with bp.read(objects, presigner=presigner, concurrency=16, errors="yield") as reading:
        async for link, found in reading:
            line = {"error": found.code} if isinstance(found, bp.TransferError) else facts(found)
            yield json.dumps({"key": link.object.key} | line) + "\n"


def facts(data: bytes) -> dict[str, Any]:
    return {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
