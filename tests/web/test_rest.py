"""The API over HTTP."""

from __future__ import annotations

import logging
from typing import Any

import msgspec
import pytest
import trio

from tests.support.waiting import until
from tests.support.web.connecting import running
from tests.support.web.fake import EVIL
from trio_update.errors import Aborted, OperationFailed, Reason, Refused

UPGRADE = "/machine/update/upgrade"
JSON = {"Content-Type": "application/json"}


async def test_the_status() -> None:
    async with running() as server:
        answer = await server.http.get("/machine/update/status")
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/json"
        status = answer.json()["result"]
        assert set(status["version_info"]) == {"klipper", "moonraker", "app"}
        assert status["busy"] is False
        assert status["version_info"]["app"]["commits_behind"][0]["subject"] == EVIL


async def test_the_status_has_an_entity_tag_and_is_sent_once() -> None:
    async with running() as server:
        path = "/machine/update/status"
        tag = (await server.http.get(path)).headers["etag"]
        for known in (tag, f'"other", W/{tag}', "*"):
            again = await server.http.get(path, headers={"If-None-Match": known})
            assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
        assert (await server.http.get(path, headers={"If-None-Match": '"other"'})).status_code == 200
        server.manager.state = msgspec.structs.replace(server.manager.state, busy=True)
        changed = await server.http.get(path, headers={"If-None-Match": tag})
        assert changed.status_code == 200
        assert changed.json()["result"]["busy"] is True


@pytest.mark.parametrize(
    ("path", "arguments", "call"),
    [
        ("upgrade", {"name": "app"}, ("upgrade", "app")),
        ("upgrade", {}, ("upgrade", None)),
        ("upgrade", {"name": None, "extra": 1}, ("upgrade", None)),
        ("client", {"name": "app"}, ("upgrade", "app")),
        ("client", {}, ("upgrade", None)),
        ("full", {"whatever": 1}, ("upgrade", None)),
        ("klipper", {"include_deps": True}, ("upgrade", "klipper")),
        ("moonraker", {}, ("upgrade", "moonraker")),
        ("recover", {"name": "app"}, ("recover", "app", False, False)),
        ("recover", {"name": "app", "hard": True, "update_deps": True}, ("recover", "app", True, True)),
        ("rollback", {"name": "app"}, ("rollback", "app", None)),
        ("rollback", {"name": "app", "version": "v1"}, ("rollback", "app", "v1")),
        ("refresh", {}, ("refresh", None)),
        ("refresh", {"name": "app", "extra": 1}, ("refresh", "app")),
    ],
)
async def test_each_request_reaches_the_engine(path: str, arguments: dict[str, Any], call: tuple[Any, ...]) -> None:
    async with running() as server:
        answer = await server.http.post(f"/machine/update/{path}", json=arguments)
        assert answer.status_code == 200, answer.text
        if path == "refresh":
            assert "version_info" in answer.json()["result"]
        else:
            assert answer.json() == {"result": "ok"}
        assert [made[: len(call)] for made in server.manager.calls] == [call]


async def test_abort_plan_history_and_job() -> None:
    async with running() as server, trio.open_nursery() as nursery:
        http, manager = server.http, server.manager
        assert (await http.post("/machine/update/abort")).status_code == 409
        assert (await http.get("/machine/update/job")).json()["error"]["reason"] == "no_job"
        assert (await http.get("/machine/update/job?proc_id=5")).status_code == 404
        (plan,) = (await http.get("/machine/update/plan?name=app")).json()["result"]
        assert (plan["name"], plan["download_bytes"], plan["release_notes"]) == ("app", "?", EVIL)
        (record,) = (await http.get("/machine/update/history?name=app&limit=3")).json()["result"]
        assert record["outcome"] == "failed"
        assert manager.calls[-1] == ("history", "app", 3)

        manager.hold = trio.Event()
        nursery.start_soon(lambda: http.post(UPGRADE, json={"name": "app"}))
        await until(lambda: manager.state.busy)
        job = (await http.get("/machine/update/job")).json()["result"]
        assert (job["application"], job["state"]) == ("app", "preparing")
        assert job["requested_by"] == "HTTP client at 127.0.0.1"
        assert (await http.post("/machine/update/abort", json={"proc_id": job["proc_id"]})).json() == {"result": "ok"}


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/server/config", {}),
        ("/machine/proc_stats", {}),
        ("/machine/system_info", {"system_info": {}}),
        ("/server/database/list", {"namespaces": []}),
        ("/server/webcams/list", {"webcams": []}),
        ("/server/files/list", []),
    ],
)
async def test_what_clients_ask_for_first(path: str, answer: object) -> None:
    async with running() as server:
        assert (await server.http.get(path)).json() == {"result": answer}


async def test_server_info_names_the_update_manager() -> None:
    async with running() as server, server.websocket():
        info = (await server.http.get("/server/info")).json()["result"]
        assert info["components"] == ["update_manager"]
        assert (info["klippy_connected"], info["klippy_state"]) == (False, "disconnected")
        assert (info["api_version_string"], info["websocket_count"]) == ("1.5.0", 1)


async def test_a_missing_item_and_a_missing_file_are_not_found_in_json() -> None:
    async with running() as server:
        for path in ("/server/database/item?namespace=x&key=y", "/server/files/config/.theme/default.json"):
            answer = await server.http.get(path)
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, 404)


async def test_unknown_paths_and_wrong_methods() -> None:
    async with running() as server:
        for method, path, status in (
            ("GET", "/machine/update/nothing", 404),
            ("GET", "/", 404),
            ("GET", "/machine/update/status/", 404),
            ("GET", UPGRADE, 405),
            ("POST", "/machine/update/status", 405),
            ("PUT", "/machine/update/refresh", 405),
            ("GET", "/server/jsonrpc", 405),
        ):
            answer = await server.http.request(method, path)
            assert (answer.status_code, answer.json()["error"]["code"]) == (status, status)
        assert "POST" in (await server.http.get(UPGRADE)).headers["allow"]
        assert server.manager.calls == []


async def test_a_body_beyond_the_limit_is_413() -> None:
    async with running() as server:
        content = b'{"name": "' + b"a" * (1024 * 1024) + b'"}'
        answer = await server.http.post(UPGRADE, content=content, headers=JSON)
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, 413)
        assert server.manager.calls == []


async def test_unknown_apps() -> None:
    async with running(names=["app"]) as server:
        for path, arguments, status in (
            ("upgrade", {"name": "x"}, 404),
            ("recover", {"name": "x"}, 404),
            ("rollback", {"name": "x"}, 404),
            ("refresh", {"name": "x"}, 400),
            ("klipper", {}, 404),
            ("system", {}, 404),
        ):
            error = (await server.http.post(f"/machine/update/{path}", json=arguments)).json()["error"]
            assert (error["code"], error["reason"]) == (status, "unknown_app")
        assert error["message"] == "system updates are not configured"


STATUS_OF = {
    Reason.BUSY: 503,
    Reason.PRINTING: 503,
    Reason.NOT_NOW: 503,
    Reason.NOT_READY: 503,
    Reason.NO_JOB: 409,
    Reason.CANNOT_ABORT: 409,
    Reason.INVALID: 409,
    Reason.HELD: 409,
    Reason.STUCK: 409,
    Reason.NO_SPACE: 409,
    Reason.PLAN_CHANGED: 409,
    Reason.UNKNOWN_APP: 404,
    Reason.UNKNOWN_JOB: 404,
    Reason.NOT_SUPPORTED: 400,
    Reason.BAD_VERSION: 400,
}


@pytest.mark.parametrize("reason", Reason)
async def test_every_refusal_has_its_status(reason: Reason) -> None:
    async with running() as server:
        server.manager.refused = Refused(reason, "not now")
        answer = await server.http.post(UPGRADE, json={"name": "app"})
        status = STATUS_OF[reason]
        assert answer.status_code == status
        assert answer.json() == {"error": {"code": status, "message": "not now", "reason": str(reason)}}


@pytest.mark.parametrize(
    ("failure", "status", "reason"), [(OperationFailed("no disk"), 500, "failed"), (Aborted("by you"), 409, "aborted")]
)
async def test_how_a_job_may_end(failure: OperationFailed | Aborted, status: int, reason: str) -> None:
    async with running() as server:
        server.manager.failure = failure
        answer = await server.http.post(UPGRADE, json={"name": "app"})
        assert answer.json() == {"error": {"code": status, "message": str(failure), "reason": reason}}


async def test_an_unexpected_error_is_logged_and_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    async with running() as server:
        server.manager.crash = RuntimeError("secret detail")
        with caplog.at_level(logging.ERROR):
            answer = await server.http.get("/machine/update/status")
        assert answer.status_code == 500
        assert "secret" not in answer.text
        assert "Traceback" not in answer.text
        assert "secret detail" in caplog.text
        server.manager.crash = None
        assert (await server.http.get("/machine/update/status")).status_code == 200


async def test_the_deprecated_refresh_is_swallowed_when_it_is_refused() -> None:
    async with running() as server:
        for reason in (Reason.BUSY, Reason.PRINTING, Reason.NOT_READY):
            server.manager.refused = Refused(reason, "not now")
            assert (await server.http.get("/machine/update/status?refresh=true")).status_code == 200
        assert server.manager.calls == [("refresh", None)] * 3
        assert (await server.http.get("/machine/update/status?refresh=false")).status_code == 200
        assert len(server.manager.calls) == 3


@pytest.mark.parametrize(("age", "refreshes"), [(None, 1), (10, 0), (59, 0), (60, 1)])
async def test_the_deprecated_refresh_is_made_once_a_minute(age: float | None, refreshes: int) -> None:
    async with running() as server:
        server.manager.refresh_age = age
        assert (await server.http.get("/machine/update/status?refresh=true")).status_code == 200
        assert len(server.manager.calls) == refreshes


async def test_a_client_that_leaves_does_not_end_its_job() -> None:
    async with running() as server:
        server.manager.hold = trio.Event()
        with trio.move_on_after(0.3):
            await server.http.post(UPGRADE, json={"name": "app"})
        assert server.manager.state.busy
        server.manager.hold.set()
        await until(lambda: bool(server.manager.ended))
        assert server.manager.ended == [("app", "succeeded")]
