"""How the tests of quirks ask a vendor: over a real socket, and page after page."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from levada.sandbox import KapsoServer, StevoraServer, run_in_thread

Row = dict[str, Any]


@contextmanager
def asking(server: KapsoServer | StevoraServer) -> Iterator[httpx.Client]:
    """Serve from a thread, with a client that has the key."""
    with run_in_thread(server):
        headers = {"X-API-Key": server.api_key}
        with httpx.Client(base_url=server.base_url, headers=headers, trust_env=False) as client:
            yield client


def row(client: httpx.Client, path: str, **params: str | int) -> Row:
    """Return the `data` of one object."""
    data: Row = client.get(path, params=params).raise_for_status().json()["data"]
    return data


def rows(client: httpx.Client, path: str, **params: str | int) -> list[Row]:
    """Return the `data` of one page."""
    data: list[Row] = client.get(path, params=params).raise_for_status().json()["data"]
    return data


def cursor_walk(client: httpx.Client, path: str, **params: str | int) -> list[list[str]]:
    """Return the ids of all pages of a Kapso list, following `next`."""
    pages: list[list[str]] = []
    after: dict[str, str] = {}
    while True:
        page = client.get(path, params={**params, **after}).raise_for_status().json()
        pages.append([each["id"] for each in page["data"]])
        if page["paging"]["next"] is None:
            return pages
        after = {"after": page["paging"]["next"]}


def number_walk(client: httpx.Client, path: str, **params: str | int) -> list[str]:
    """Return the ids of all pages of a Stevora list, as many as the first one says."""
    pages = client.get(path, params=params).raise_for_status().json()["meta"]["totalPages"]
    return [
        each["id"]
        for number in range(1, pages + 1)
        for each in rows(client, path, **params, page=number)
    ]


def flat(pages: list[list[str]]) -> list[str]:
    return [each for page in pages for each in page]
