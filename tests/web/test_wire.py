"""What values look like on the wire."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.web.fake import EVIL, EVIL_ESCAPED, an_app
from trio_update.events import JobMessage, StatusChanged
from trio_update.model import (
    AppName,
    AppOutcome,
    JobId,
    JobKind,
    JobRecord,
    JobState,
    JobView,
    Outcome,
    Plan,
    Status,
    Unknown,
)
from trio_update.web.api.wire import Wire, escape, to_wire

KLIPPER = AppName("klipper")


def a_status(**changes: object) -> Status:
    return Status(busy=False, version_info={KLIPPER: an_app("klipper", **changes)})


def test_an_unknown_value_is_a_question_mark() -> None:
    app = msgspec.json.decode(Wire().text(a_status(version=Unknown("no tags"))))["version_info"]["klipper"]
    assert (app["version"], app["owner"], app["rollback_version"], app["repo_name"]) == ("?", "?", "?", "x")


def test_unknown_numbers_are_question_marks_too() -> None:
    why = Unknown("offline")
    plan = Plan(
        name=KLIPPER,
        up_to_date=False,
        from_version="1",
        to_version=why,
        from_hash="a",
        to_hash=why,
        download_bytes=why,
        disk_free=3,
        disk_needed=why,
    )
    written = msgspec.json.decode(Wire().text([plan]))[0]
    assert (written["to_version"], written["download_bytes"], written["disk_free"]) == ("?", "?", 3)


def test_a_status_names_the_type_of_each_app_and_every_field() -> None:
    app = msgspec.json.decode(Wire().text(a_status()))["version_info"]["klipper"]
    assert app["configured_type"] == "git_repo"
    assert set(app) == {"configured_type", *an_app("klipper").__struct_fields__}
    assert app["info_tags"] == ["desc=X & Y"]
    assert app["commits_behind"][0]["tag"] is None


def test_text_from_outside_is_escaped_where_it_is_wanted_and_nothing_else_is() -> None:
    wire = Wire()
    plain = msgspec.json.decode(wire.text(a_status()))["version_info"]["klipper"]
    safe = msgspec.json.decode(wire.text(a_status(), escaped=True))["version_info"]["klipper"]
    for field in ("warnings", "anomalies", "git_messages"):
        assert (plain[field], safe[field]) == ([EVIL], [EVIL_ESCAPED])
    commit = safe["commits_behind"][0]
    assert commit["author"] == "Eve &lt;eve@x.org&gt;"
    assert (commit["subject"], commit["message"]) == (EVIL_ESCAPED, EVIL_ESCAPED)
    for field in ("remote_url", "recovery_url", "info_tags", "name", "current_hash"):
        assert safe[field] == plain[field]


def test_names_that_a_stranger_made_up_are_escaped() -> None:
    safe = msgspec.json.decode(Wire().text(a_status(branch="<b>", version="v1<b>"), escaped=True))
    app = safe["version_info"]["klipper"]
    assert (app["branch"], app["version"]) == ("&lt;b&gt;", "v1&lt;b&gt;")


def test_jobs_and_their_logs_are_escaped() -> None:
    outcome = AppOutcome(name=KLIPPER, outcome=Outcome.FAILED, message=EVIL)
    record = JobRecord(
        proc_id=JobId(1),
        kind=JobKind.UPGRADE,
        name=KLIPPER,
        requested_by="me",
        started=0.5,
        duration=1,
        outcome=Outcome.FAILED,
        apps=(outcome,),
        message=EVIL,
        log=(EVIL,),
    )
    view = JobView(
        proc_id=JobId(1),
        application="klipper",
        kind=JobKind.UPGRADE,
        name=KLIPPER,
        requested_by="me",
        state=JobState.ENDED,
        abortable=False,
        started=0.5,
        log=(EVIL,),
    )
    written = msgspec.json.decode(Wire().text({"record": record, "view": view}, escaped=True))
    assert written["record"]["log"] == written["view"]["log"] == [EVIL_ESCAPED]
    assert written["record"]["message"] == written["record"]["apps"][0]["message"] == EVIL_ESCAPED
    assert (written["record"]["kind"], written["view"]["state"]) == ("upgrade", "ended")


@given(st.text())
def test_escaped_text_opens_no_tag_and_no_entity_of_its_own(text: str) -> None:
    safe = escape(text)
    assert not {"<", ">"} & set(safe)
    assert safe.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&") == text


def test_one_status_is_encoded_once_in_each_way() -> None:
    wire, status = Wire(), a_status()
    assert wire.text(status) is wire.text(status)
    assert wire.text(status, escaped=True) is wire.text(status, escaped=True)
    assert wire.status_body(status)[0] is wire.status_body(status)[0]


def test_a_status_that_took_the_place_of_another_in_memory_is_not_mistaken_for_it() -> None:
    wire = Wire()
    for number in range(50):
        # Nothing else holds the status: the next one may well get the same address.
        assert f'"version":"v{number}"' in wire.text(a_status(version=f"v{number}"))


def test_the_entity_tag_follows_the_content() -> None:
    first, same, other = (
        Wire().status_body(a_status()),
        Wire().status_body(a_status()),
        Wire().status_body(a_status(version="v9")),
    )
    assert first == same
    assert first[1] != other[1]
    assert first[1].startswith('"')
    assert first[1].endswith('"')


def test_a_message_is_a_notification_with_one_object_as_its_parameter() -> None:
    event = JobMessage(application="klipper", proc_id=JobId(4), message="<b>", complete=True)
    expected = {"application": "klipper", "proc_id": 4, "message": "<b>", "complete": True}
    wire = Wire()
    assert msgspec.json.decode(wire.frame(event)) == {
        "jsonrpc": "2.0",
        "method": "notify_update_response",
        "params": [expected],
    }
    assert msgspec.json.decode(wire.frame(event, escaped=True))["params"][0]["message"] == "&lt;b&gt;"
    assert wire.frame(event) is wire.frame(event)


def test_a_refresh_carries_the_whole_status() -> None:
    wire, status = Wire(), a_status()
    frame = msgspec.json.decode(wire.frame(StatusChanged(status=status)))
    assert frame["method"] == "notify_update_refreshed"
    assert frame["params"] == [msgspec.json.decode(wire.text(status))]


def test_many_events_do_not_pile_up_and_none_is_mistaken_for_another() -> None:
    wire = Wire()
    for number in range(500):
        event = JobMessage(application="a", proc_id=JobId(number), message=f"line {number}")
        assert f'"line {number}"' in wire.frame(event)


@pytest.mark.parametrize("escaped", [False, True])
def test_file_names_that_are_not_utf_8_can_be_written(escaped: bool) -> None:
    name = b"caf\xe9 <x>".decode(errors="surrogateescape")
    frame = Wire().frame(JobMessage(application="a", proc_id=JobId(1), message=name), escaped=escaped)
    assert msgspec.json.decode(frame)["params"][0]["message"].startswith("caf\\udce9 ")


def test_scalars_and_names_of_an_enumeration_stay_what_they_are() -> None:
    assert to_wire({"a": 1, "b": None, "c": (True, 2.5), "warnings": ["<"]}, escaped=True) == {
        "a": 1,
        "b": None,
        "c": [True, 2.5],
        "warnings": ["&lt;"],
    }
