"""The adoption of a Hermes home: each step is recorded, then done; the fence is last.

Before the fence exists nothing changes for the running processes of Hermes. A finished step is
recognised by the files, so adopting again continues where it was interrupted, and repairs what was
lost since.
"""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from tenure.adapters.hermes.adopt.config_edit import Edit
from tenure.adapters.hermes.adopt.fence import TickLockBlocker, fence_exists
from tenure.adapters.hermes.adopt.plan import AdoptionPlan, plan_config
from tenure.adapters.hermes.adopt.plugin_files import (
    Library,
    has_plugin,
    home_files,
    library,
    plugin_files,
)
from tenure.adapters.hermes.adopt.profile import make_profile
from tenure.adapters.hermes.back.disk import Disk, beside, content_of
from tenure.adapters.hermes.back.release import DISCARDED, PREPARED, Refusal, alone
from tenure.adapters.hermes.facts.adoption_record import (
    ADOPTED,
    Adoption,
    Step,
    read_adoption,
    write_adoption,
)
from tenure.adapters.hermes.facts.protection import protect
from tenure.domain.errors import Conflict, OutcomeUnknown

_TRIES = 5


@dataclass(slots=True)
class AdoptionResult:
    """What was done, as text; empty where nothing was missing."""

    adoption: Adoption
    done: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def adopt(
    plan: AdoptionPlan,
    now: datetime,
    *,
    disk: Disk | None = None,
    patience: float = 10.0,
    linger: float | None = None,
    packages: Library | None = None,
) -> AdoptionResult:
    """Carry out a plan. ``now`` is UTC; ``patience`` and ``linger`` are the fence's, in seconds.

    Raises Conflict if another adoption or release runs, or ran since the plan, OutcomeUnknown
    if a tick runs for too long, OSError where the disk fails. Adopting again continues from there.
    """
    try:
        with alone(str(plan.home.path)):
            if read_adoption(plan.home) != plan.earlier:
                raise Conflict(
                    f"another process has adopted or released {plan.home.path} since this was "
                    "planned",
                    remedy="run the command again",
                )
            return _Work(plan, now, disk or Disk()).run(patience, linger, packages or library())
    except Refusal as error:
        raise Conflict(error.text, remedy=error.remedy) from error


class _Work:
    """One adoption. Paths in the record are relative to the home."""

    def __init__(self, plan: AdoptionPlan, now: datetime, disk: Disk) -> None:
        self.plan = plan
        self.home = plan.home
        self.now = now
        self.disk = disk
        self.result = AdoptionResult(plan.adoption)

    @property
    def adoption(self) -> Adoption:
        return self.result.adoption

    def run(self, patience: float, linger: float | None, packages: Library) -> AdoptionResult:
        fenced = self.plan.again and fence_exists(self.home)
        self.begin()
        self.own_files(packages)
        self.result.done += make_profile(self.plan.profile, self.home, self.now, self.disk)
        self.plugin()
        self.config()
        if self.plan.options.protect:
            jobs = protect(self.home, self.plan.options.protect, (), self.now)
            self.did(f"protected {', '.join(job.name for job in jobs)}")
        # The fence comes last: until it exists, nothing changes for running processes.
        if not fence_exists(self.home):
            self.make(self.home.cron)
        TickLockBlocker(self.home, self.disk, linger=linger).install(
            keep=self.keep, patience=patience
        )
        if not fenced:
            self.did(f"put up the fence: {self.home.tick_lock} is a folder, so no tick can begin")
        self.finish()
        return self.result

    def did(self, text: str) -> None:
        self.result.done.append(text)

    # -- the record ------------------------------------------------------------------------------
    def begin(self) -> None:
        for name in (PREPARED, DISCARDED):
            self.disk.remove(str(self.home.path / name))
        if self.home.tenure.is_dir():
            write_adoption(self.disk, self.home.tenure, self.adoption)
            return
        # The rename makes folder and record appear at once: one without the other means nothing.
        prepared = self.home.path / PREPARED
        self.disk.mkdir(str(prepared), 0o700)
        write_adoption(self.disk, prepared, self.adoption)
        self.disk.rename(str(prepared), str(self.home.tenure))
        self.disk.flush(str(self.home.path))

    def record(self, step: Step) -> None:
        """Record a step before it is done. It replaces a step of the same kind and path."""
        key = (step["kind"], step["path"])
        steps = {(s["kind"], s["path"]): s for s in self.adoption.steps}
        steps[key] = step  # in the place of the earlier one
        if tuple(steps.values()) != self.adoption.steps:
            self.result.adoption = replace(self.adoption, steps=tuple(steps.values()))
            write_adoption(self.disk, self.home.tenure, self.adoption)

    def finish(self) -> None:
        at = None if self.result.done else self.adoption.adopted_at
        self.result.adoption = replace(self.adoption, state=ADOPTED, adopted_at=at or self.now)
        write_adoption(self.disk, self.home.tenure, self.adoption)

    # -- files ---------------------------------------------------------------------------------
    def make(self, folder: Path) -> None:
        path = str(folder.relative_to(self.home.path))
        if folder.is_dir():
            return
        self.record({"kind": "made", "path": path})
        self.disk.mkdir(str(folder), 0o700)
        self.disk.flush(str(folder.parent))

    def own_files(self, packages: Library) -> None:
        """The files in ``tenure``: the whole folder is Tenure's, so the record needs no steps."""
        folder = self.home.tenure
        for name, content in home_files(self.home).items():
            if content_of(folder / name) != content:
                self.disk.write(str(folder / name), content)
        if not (folder / "restore").is_dir():
            self.disk.mkdir(str(folder / "restore"), 0o700)
        if not packages.is_at(folder / "lib"):
            self._copy(packages, folder / "lib")
            self.did(f"copied Tenure itself to {folder / 'lib'}")

    def _copy(self, packages: Library, target: Path) -> None:
        new, old = beside(str(target)), beside(str(target.with_name("lib-before")))
        self.disk.remove(new)
        folders = {Path(new)}
        self.disk.mkdir(new, 0o700)
        for name, source in packages.files.items():
            path = Path(new, name)
            for folder in reversed(path.relative_to(new).parents):
                if Path(new, folder) not in folders:
                    folders.add(Path(new, folder))
                    self.disk.mkdir(str(Path(new, folder)), 0o700)
            self.disk.create(str(path), source.read_bytes(), 0o600)
        self.disk.create(os.path.join(new, "VERSION"), packages.label, 0o600)
        for folder in sorted(folders):
            self.disk.flush(str(folder))
        # A process of Hermes may load the copy at this moment: it is whole under either name.
        self.disk.remove(old)
        if target.exists():
            self.disk.put_away(str(target), old)
        self.disk.rename(new, str(target))
        self.disk.flush(str(target.parent))
        self.disk.remove(old)

    def plugin(self) -> None:
        folder, source = self.home.plugin, self.plan.shim
        made = self.adoption.step("made", str(folder.relative_to(self.home.path)))
        if made is None and has_plugin(self.home, source):
            self.result.notes.append(f"{folder} already exists with the right content")
            return
        for needed in (folder.parent, folder):
            self.make(needed)
        for name, content in plugin_files(source).items():
            path = folder / name
            digest = hashlib.sha256(content).hexdigest()
            relative = str(path.relative_to(self.home.path))
            self.record({"kind": "wrote", "path": relative, "sha256": digest})
            if content_of(path) != content:
                self.disk.write(str(path), content)
                self.did(f"wrote {path}")

    # -- config.yaml -----------------------------------------------------------------------------
    def config(self) -> None:
        """Enable the plugin. Tries again if Hermes writes the file meanwhile."""
        edit = self.plan.edit
        target = os.path.realpath(self.home.config)
        for _ in range(_TRIES):
            content = content_of(target)
            if content != edit.before:
                edit = plan_config(self.home, content, self.adoption.hermes_python, self.plan.code)
            if not edit.changes:
                return
            self.record(self._config_step(edit, target))
            if self._write_config(edit, target):
                self.did(f"added tenure to plugins.enabled in {self.home.config}")
                return
        raise OutcomeUnknown(
            f"{self.home.config} changes repeatedly", remedy="try again in a moment"
        )

    def _config_step(self, edit: Edit, target: str) -> Step:
        earlier = self.adoption.step("config", "config.yaml") or {}
        added = dict.fromkeys([*earlier.get("added", ()), *edit.added])
        step: Step = {
            "kind": "config",
            "path": "config.yaml",
            "before": None,
            "after": hashlib.sha256(edit.after).hexdigest(),
            "added": list(added),
        }
        if edit.before is not None:
            state = os.stat(target)
            mode = stat.S_IMODE(state.st_mode)
            saved = str(self.home.tenure / "restore" / "config.yaml")
            self.disk.write(saved, edit.before, mode & 0o600)
            digest = hashlib.sha256(edit.before).hexdigest()
            step["before"] = {"sha256": digest, "mode": mode, "mtime_ns": state.st_mtime_ns}
        return step

    def _write_config(self, edit: Edit, target: str) -> bool:
        """False if another process has written it since it was read."""
        new = beside(target)
        exists = edit.before is not None
        mode = stat.S_IMODE(os.stat(target).st_mode) if exists else 0o600
        self.disk.create(new, edit.after, mode, like=target if exists else None)
        # Hermes may have written the file since it was read.
        if content_of(target) != edit.before:
            self.disk.unlink(new)
            return False
        self.disk.rename(new, target)
        self.disk.flush(os.path.dirname(target))
        return True

    # -- the fence -------------------------------------------------------------------------------
    def keep(self, was: str) -> None:
        path = str(self.home.tick_lock.relative_to(self.home.path))
        self.record({"kind": "fence", "path": path, "was": was})
