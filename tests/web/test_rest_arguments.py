"""Where the arguments of a REST request may stand, and what is no argument."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.web.connecting import running
from tests.support.web.fake import FakeManager

UPGRADE = "/machine/update/upgrade"
JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def upgrades(manager: FakeManager) -> list[Any]:
    return [call[1] for call in manager.calls if call[0] == "upgrade"]


@pytest.mark.parametrize(
    ("query", "body", "headers", "name"),
    [
        ("?name=app", b"", {}, "app"),
        ("", b"name=app", FORM, "app"),
        ("", b'{"name": "app"}', JSON, "app"),
        ("?name=klipper", b'{"name": "app"}', JSON, "app"),
        ("?name=klipper", b"name=app", FORM, "app"),
        ("?name=5", b'{"name": "app"}', {"Content-Type": "application/json; charset=utf-8"}, "app"),
        ("?name:json=%22app%22", b"", {}, "app"),
        ("?name=%61pp", b"", {}, "app"),
        ("?token=abc", b"", {}, None),
        ("", b"{}", JSON, None),
        ("", b"", {}, None),
    ],
)
async def test_where_arguments_may_stand(query: str, body: bytes, headers: dict[str, str], name: str | None) -> None:
    async with running() as server:
        answer = await server.http.post(UPGRADE + query, content=body, headers=headers)
        assert answer.status_code == 200, answer.text
        assert upgrades(server.manager) == [name]


async def test_arguments_in_a_multipart_form() -> None:
    async with running() as server:
        answer = await server.http.post(UPGRADE, files={"name": (None, "app")})
        assert (answer.status_code, upgrades(server.manager)) == (200, ["app"])
        answer = await server.http.post(UPGRADE, files={"name": ("app.txt", b"app")})
        assert (answer.status_code, upgrades(server.manager)) == (400, ["app"])


async def test_a_plan_is_of_one_app() -> None:
    plan = "0123456789abcdef"
    async with running() as server:
        for answer in (
            await server.http.post(UPGRADE, params={"name": "app", "plan_id": plan}),
            await server.http.post(UPGRADE, json={"name": "app", "plan_id": plan}),
        ):
            assert (answer.status_code, server.manager.calls[-1][3]) == (200, plan)
        for answer in (
            await server.http.post(UPGRADE, params={"plan_id": plan}),
            await server.http.post(UPGRADE, params={"name": "app", "plan_id": ""}),
            await server.http.post(UPGRADE, json={"plan_id": plan}),
            await server.http.post(UPGRADE, json={"name": None, "plan_id": plan}),
            await server.http.post(UPGRADE, json={"name": "app", "plan_id": 5}),
        ):
            assert answer.status_code == 400, answer.text
        assert len(upgrades(server.manager)) == 2


@pytest.mark.parametrize("parameters", ["", "; boundary=", "; boundary=x", "; boundary=\u00f6"])
@pytest.mark.parametrize("body", [b"name=app", b"--x\r\nrubbish", b"--x--\r\n"])
async def test_a_form_that_cannot_be_made_out_upgrades_nothing(parameters: str, body: bytes) -> None:
    headers = {b"Content-Type": f"multipart/form-data{parameters}".encode("latin-1")}
    async with running() as server:
        answer = await server.http.post(UPGRADE, content=body, headers=headers)
        assert (answer.status_code, upgrades(server.manager)) == (400, [])


@pytest.mark.parametrize(
    ("query", "body", "headers"),
    [
        ("", b"{", JSON),
        ("", b"not json", JSON),
        ("", b"\xff\xfe", JSON),
        ("", b"", JSON),
        ("", b"[]", JSON),
        ("", b'["app"]', JSON),
        ("", b'"app"', JSON),
        ("", b"null", JSON),
        ("", b'{"name": 5}', JSON),
        ("", b'{"name": ["app"]}', JSON),
        ("", b'{"name": {}}', JSON),
        ("", b'{"name": false}', JSON),
        ("", b'{"name": ""}', JSON),
        ("", b'{"nmae": "app"}', JSON),
        ("", b'{"name": "app"} trailing', JSON),
        ("", b'{"name": "' + b"a" * 300 + b'"}', JSON),
        ("", b'{"a": ' + b"[" * 100 + b"]" * 100 + b', "name": "app"}', JSON),
        ("", b'{"name": "app"}', {}),
        ("", b'{"name": "app"}', {"Content-Type": "text/plain"}),
        ("", b'{"name": "app"}', FORM),
        ("", b"nmae=app", FORM),
        ("", b"name=%FF", FORM),
        ("", b"name=", FORM),
        ("?name=", b"", {}),
        ("?name", b"", {}),
        ("?nmae=app", b"", {}),
        ("?name=app&name=klipper", b"", {}),
        ("?name:int=5", b"", {}),
        ("?name:strin=app", b"", {}),
        ("?name:json={", b"", {}),
        ("?" + "&".join(f"a{n}=1" for n in range(100)), b"", {}),
    ],
)
async def test_a_malformed_upgrade_upgrades_nothing(query: str, body: bytes, headers: dict[str, str]) -> None:
    async with running() as server:
        for path in (UPGRADE, "/machine/update/client"):
            answer = await server.http.post(path + query, content=body, headers=headers)
            assert answer.status_code == 400, answer.text
            error = answer.json()["error"]
            assert error["code"] == 400
            assert error["message"]
        assert server.manager.calls == []


@pytest.mark.parametrize(
    ("path", "arguments", "named"),
    [
        ("recover", {}, "name"),
        ("recover", {"name": None}, "name"),
        ("recover", {"name": "app", "hard": 1}, "hard"),
        ("recover", {"name": "app", "hard": "true"}, "hard"),
        ("rollback", {"name": "app", "version": 3}, "version"),
        ("abort", {"proc_id": "3"}, "proc_id"),
        ("abort", {"proc_id": 3.5}, "proc_id"),
        ("refresh", {"name": 3}, "name"),
    ],
)
async def test_missing_and_wrong_typed_arguments(path: str, arguments: dict[str, Any], named: str) -> None:
    async with running() as server:
        answer = await server.http.post(f"/machine/update/{path}", json=arguments)
        assert answer.status_code == 400
        assert f"`{named}`" in answer.json()["error"]["message"]
        assert server.manager.calls == []


@pytest.mark.parametrize(
    ("query", "hard"),
    [
        ("", False),
        ("&hard=true", True),
        ("&hard=TRUE", True),
        ("&hard=False", False),
        ("&hard:bool=True", True),
        ("&hard:json=true", True),
    ],
)
async def test_booleans_in_a_query(query: str, hard: bool) -> None:
    async with running() as server:
        answer = await server.http.post(f"/machine/update/recover?name=app{query}")
        assert answer.status_code == 200, answer.text
        assert server.manager.calls == [("recover", "app", hard, False)]


@pytest.mark.parametrize("query", ["hard=1", "hard=yes", "hard=", "hard:int=1", "hard:float=1.0"])
async def test_what_is_no_boolean(query: str) -> None:
    async with running() as server:
        answer = await server.http.post(f"/machine/update/recover?name=app&{query}")
        assert (answer.status_code, server.manager.calls) == (400, [])


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("limit=3", 200),
        ("limit:int=3", 200),
        ("limit:json=3", 200),
        ("limit=three", 400),
        ("limit=3.0", 400),
        ("limit=1_0", 400),
        ("limit=%203", 400),
        ("limit=0", 400),
        ("limit=100000", 400),
        ("limit=" + "9" * 5000, 400),
        ("limit:float=3", 400),
    ],
)
async def test_numbers_in_a_query(query: str, status: int) -> None:
    async with running() as server:
        assert (await server.http.get(f"/machine/update/history?{query}")).status_code == status
