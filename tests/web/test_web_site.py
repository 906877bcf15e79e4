"""What is opened, who is let in, and what is counted."""

from __future__ import annotations

import json
import os
import shutil
import stat
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from webkit import Web, accept, now

from answering import Answering
from tenure.domain.errors import NotFound, Refused, TenureError
from tenure.domain.event import EventKind
from tenure.domain.job import JobState
from tenure.domain.process import ProcessStatus
from tenure.domain.run import RunState
from tenure.runtime.profile import Profile
from tenure.surfaces.web.site import Site
from tenure.surfaces.web.tokens import FILE, Tokens


class TestTokens:
    def test_made_once_and_kept(self, tmp_path: Path) -> None:
        first = Tokens.of_home(tmp_path / "home").pair
        assert Tokens.of_home(tmp_path / "home").pair == first
        mode = os.stat(tmp_path / "home" / FILE).st_mode
        assert stat.S_IMODE(mode) == 0o600
        assert stat.S_IMODE(os.stat(tmp_path / "home").st_mode) == 0o700
        assert first.full != first.read_only

    def test_what_they_allow(self, tmp_path: Path) -> None:
        tokens = Tokens.of_home(tmp_path)
        full, read_only = (
            tokens.of_token(token) for token in (tokens.pair.full, tokens.pair.read_only)
        )
        assert full is not None
        assert read_only is not None
        assert (full.may_write, read_only.may_write) == (True, False)
        assert tokens.of_cookie(full.cookie) == full
        assert tokens.of_token(full.cookie) is None
        assert tokens.of_cookie(tokens.pair.full) is None
        assert len({full.cookie, full.csrf, read_only.cookie, read_only.csrf}) == 4
        for wrong in ("", "x", tokens.pair.full[:-1], "\ud800"):
            assert tokens.of_token(wrong) is None

    def test_new_ones_make_the_old_void_everywhere(self, tmp_path: Path) -> None:
        running = Tokens.of_home(tmp_path)
        old = running.pair.full
        new = Tokens.of_home(tmp_path, renew=True).pair
        assert running.of_token(old) is None
        assert running.of_token(new.full) is not None

    def test_a_file_that_is_gone_lets_nobody_in(self, tmp_path: Path) -> None:
        running = Tokens.of_home(tmp_path)
        old = running.pair.full
        (tmp_path / FILE).unlink()
        assert running.of_token(old) is None

    @pytest.mark.parametrize(
        "text", ["", "{}", "[]", '{"tokens": {"full": "a", "read_only": "b"}}', "\0", "x" * 9000]
    )
    def test_a_file_that_holds_none(self, tmp_path: Path, text: str) -> None:
        path = tmp_path / FILE
        path.write_text(text)
        path.chmod(0o600)
        with pytest.raises(Refused, match="--new-token"):
            Tokens.of_home(tmp_path)
        assert path.read_text() == text

    def test_a_file_that_others_can_read(self, tmp_path: Path) -> None:
        """Its tokens may be known by now."""
        running = Tokens.of_home(tmp_path)
        old = running.pair.full
        (tmp_path / FILE).chmod(0o644)
        with pytest.raises(Refused, match="readable by other users"):
            Tokens.of_home(tmp_path)
        assert running.of_token(old) is None

    def test_one_token_for_both_is_none(self, tmp_path: Path) -> None:
        token = "a" * 43
        (tmp_path / FILE).write_text(json.dumps({"tokens": {"full": token, "read_only": token}}))
        (tmp_path / FILE).chmod(0o600)
        with pytest.raises(Refused):
            Tokens.of_home(tmp_path)

    def test_a_home_that_cannot_be_written(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(Refused):
            Tokens.of_home(tmp_path / "file" / "home")


class TestSite:
    def test_opened_once_and_joined_as_an_observer(self, web: Web) -> None:
        first = web.site.profile("default")
        assert web.site.profile("default") is first
        (mine,) = web.store.processes()
        assert (mine.role, mine.executes, mine.standing) == (
            "dashboard",
            False,
            ProcessStatus.OBSERVER,
        )
        assert web.site.opened() == ("default",)

    def test_one_that_this_process_has_joined_already(self, web: Web) -> None:
        site = Site(web.site.home, web.tokens, joined={"default"})
        site.profile("default")
        assert web.store.processes() == ()
        site.close()

    def test_closing_leaves(self, web: Web) -> None:
        site = Site(web.site.home, web.tokens)
        site.profile("default")
        site.close()
        site.close()
        assert web.store.processes() == ()
        with pytest.raises(TenureError, match="closing"):
            site.profile("default")

    def test_names_that_no_profile_can_have(self, web: Web) -> None:
        for name in ("", "..", "a/b", "A", "x" * 65, "\0"):
            with pytest.raises(NotFound):
                web.site.profile(name)

    def test_a_profile_that_was_replaced(self, web: Web, tmp_path: Path) -> None:
        """Another database at the path is another profile: it is opened anew."""
        web.add("old")
        folder = web.site.home / "profiles" / "default"
        shutil.move(folder, tmp_path / "away")
        Profile.open("default", home=web.site.home, create=True, now=now()).close()
        assert web.get("/jobs")["jobs"] == []
        web.add("new")
        assert [job["name"] for job in web.get("/jobs")["jobs"]] == ["new"]

    def test_where_nothing_can_be_written_it_is_shown_all_the_same(
        self, web: Web, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from tenure.runtime import members

        def full(*_: object, **__: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(members.LiveLock, "hold", full)
        assert web.get("/status")["processes"] == []


class TestFigures:
    def value(self, web: Web, name: str, **labels: str) -> float:
        """One sample; several scrapes read what is new each time."""
        wanted = {"profile": "default", **labels}
        for line in web.ask("GET", "/metrics").text.splitlines():
            head, _, value = line.rpartition(" ")
            metric, _, rest = head.partition("{")
            given = {
                part.partition("=")[0]: part.partition("=")[2].strip('"')
                for part in rest.rstrip("}").split(",")
            }
            if metric == name and wanted.items() <= given.items():
                return float(value)
        raise AssertionError(f"there is no {name} {wanted}")

    def test_what_is_new_is_counted_once(self, web: Web) -> None:
        web.add(schedule="every 1s")
        web.world.owner()
        web.run_of("job")  # before the first scrape
        assert self.value(web, "tenure_claims_total", cause="schedule") == 0
        web.run_of("job")
        running = web.run_of("job", end=None)
        assert self.value(web, "tenure_claims_total", cause="schedule") == 2
        assert self.value(web, "tenure_fires_total", outcome="claimed") == 2
        assert self.value(web, "tenure_runs_ended_total", state="succeeded") == 1
        assert self.value(web, "tenure_claim_lag_seconds_count") == 2
        assert self.value(web, "tenure_active_runs") == 1
        from testkit.factories import ended

        current = web.store.run(running.id)
        web.store.finish([ended(current, RunState.FAILED)], now())
        assert self.value(web, "tenure_runs_ended_total", state="failed") == 1
        assert self.value(web, "tenure_runs_ended_total", state="succeeded") == 1
        assert self.value(web, "tenure_active_runs") == 0

    def test_what_was_left_out(self, web: Web) -> None:
        job = web.add(schedule="every 1s")
        self.value(web, "tenure_fires_total", outcome="missed")
        at = now() + timedelta(seconds=5)
        web.store.set_job_state(job["id"], JobState.PAUSED, by="test", now=at)
        missed = self.value(web, "tenure_fires_total", outcome="missed")
        assert missed >= 4
        assert self.value(web, "tenure_fires_total", outcome="missed") == missed

    def test_the_owner_and_what_is_asked(self, web: Web) -> None:
        web.add()
        self.value(web, "tenure_owner_term")
        web.world.owner()
        assert self.value(web, "tenure_owner_term") == 1
        assert self.value(web, "tenure_owner_state", state="owned") == 1
        with Answering(web.world.profile.folder.home, accept):
            web.ask("POST", "/jobs/job/trigger")
        assert self.value(web, "tenure_requests_answered_total", state="accepted") == 1
        assert self.value(web, "tenure_claims_total", cause="request") == 1
        web.ask("POST", "/jobs/job/trigger?queue=true&wait=0")
        assert self.value(web, "tenure_requests_pending") == 1
        web.store.record_event(EventKind.CLAIM_REFUSED, now())
        assert self.value(web, "tenure_claims_refused_total") == 1
        web.world.die("p-gateway")
        assert self.value(web, "tenure_owner_state", state="dead") == 1
        assert self.value(web, "tenure_owner_state", state="owned") == 0

    def test_a_profile_that_cannot_be_read_hides_no_other(self, web: Web) -> None:
        broken = web.site.home / "profiles" / "broken"
        broken.mkdir(mode=0o700)
        (broken / "tenure.db").write_bytes(b"x" * 5000)
        assert self.value(web, "tenure_owner_term") == 0

    def test_it_is_the_text_format(self, web: Web) -> None:
        from prometheus_client.parser import text_string_to_metric_families

        web.add()
        answer = web.ask("GET", "/metrics")
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        names = {family.name for family in text_string_to_metric_families(answer.text)}
        assert {"tenure_fires", "tenure_claim_lag_seconds", "tenure_takeover_seconds"} <= names
        assert "process_resident_memory_bytes" in names


def test_edits_from_two_pages_are_merged(web: Web) -> None:
    """Issue: edit from two tabs at once and lose nothing; the second is told where both differ."""
    from tenure.client import edits
    from tenure.domain.errors import Conflict
    from tenure.surfaces.web import VIA_PAGE

    web.add(timeout="1m")
    profile = web.site.profile("default")

    def save(fields: dict[str, Any]) -> None:
        edits.edit(profile, "job", fields, revision=1, via=VIA_PAGE, now=now(), merge=True)

    save({"timeout": "2m"})
    save({"tags": ["a"]})
    job = web.get("/jobs/job")["job"]
    assert (job["timeout"], job["tags"], job["revision"]) == (120, ["a"], 3)
    with pytest.raises(Conflict) as error:
        save({"timeout": "3m"})
    assert error.value.facts["fields"] == ["timeout"]
    save({"timeout": "2m"})
    assert web.get("/jobs/job")["job"]["revision"] == 3
