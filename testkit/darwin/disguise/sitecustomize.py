# mypy: ignore-errors
"""Makes a Python on Linux look like one on macOS, before any other module is imported.

The processes, files, locks and SQLite are real. As on Darwin are: the platform's name; which
attributes ``os``, ``select``, ``socket``, ``signal``, ``time`` and ``fcntl`` have; kqueue; the
absence of ``/proc``; socket paths of 104 bytes; ``/bin/launchctl``; what System Integrity
Protection strips from the environment of ``/bin/sh``; and the C calls in ``kernel.c``. Signals,
sleep, the scheduler and TCC remain Linux's.
"""

import os
import sys

if os.environ.get("DARWIN_DISGUISE") and sys.platform == "linux":
    import ctypes  # noqa: F401  loaded before the platform changes its name, as are the next ones
    import errno
    import fcntl
    import functools
    import pwd  # noqa: F401
    import resource
    import select
    import shutil
    import signal
    import socket
    import subprocess
    import sysconfig
    import tempfile
    import time
    import types
    import weakref
    import zoneinfo  # noqa: F401

    try:
        import psutil
    except ImportError:
        psutil = None

    HERE = os.path.dirname(os.path.abspath(__file__))
    LAUNCHCTL = os.path.join(os.path.dirname(HERE), "launchctl.py")
    sysconfig.get_config_vars()  # those of the Linux build

    linux_pidfd_open, linux_epoll = os.pidfd_open, select.epoll
    READABLE, WRITABLE = select.EPOLLIN, select.EPOLLOUT
    AWAKE, CONTINUOUS = time.CLOCK_MONOTONIC, time.CLOCK_BOOTTIME

    def record(event):
        if path := os.environ.get("DARWIN_LOG"):
            with open(path, "a") as log:
                log.write(event + "\n")

    # -- names that Darwin does not have -------------------------------------------------------
    ABSENT = {
        os: """pidfd_open P_PIDFD O_TMPFILE O_DIRECT O_PATH O_NOATIME O_RSYNC O_LARGEFILE
            memfd_create eventfd eventfd_read eventfd_write EFD_CLOEXEC sched_setaffinity
            sched_getaffinity sched_setscheduler sched_getscheduler sched_getparam sched_setparam
            sched_rr_get_interval getrandom setns unshare splice copy_file_range posix_fallocate
            posix_fadvise fdatasync pipe2 setresuid setresgid getresuid getresgid getxattr setxattr
            listxattr removexattr waitid P_PID P_PGID P_ALL WEXITED WNOWAIT""",
        select: " ".join(name for name in dir(select) if name.lower().startswith("epoll")),
        socket: """SO_PEERCRED SO_PASSCRED SO_BINDTODEVICE SO_PEERSEC AF_NETLINK AF_PACKET AF_ALG
            AF_VSOCK SOCK_CLOEXEC SOCK_NONBLOCK TCP_USER_TIMEOUT""",
        signal: """pidfd_send_signal sigtimedwait sigwaitinfo SIGRTMIN SIGRTMAX SIGPWR SIGSTKFLT
            SIGPOLL SIGCLD""",
        resource: """prlimit RLIMIT_MSGQUEUE RLIMIT_NICE RLIMIT_RTPRIO RLIMIT_RTTIME
            RLIMIT_SIGPENDING RUSAGE_THREAD""",
        time: "CLOCK_BOOTTIME CLOCK_TAI CLOCK_MONOTONIC_COARSE CLOCK_REALTIME_COARSE",
        fcntl: """F_OFD_GETLK F_OFD_SETLK F_OFD_SETLKW F_SETPIPE_SZ F_GETPIPE_SZ F_ADD_SEALS
            F_SETLEASE F_GETLEASE F_NOTIFY""",
    }
    for module, names in ABSENT.items():
        for name in names.split():
            if hasattr(module, name):
                delattr(module, name)
    # Modules that looked at what is now absent when they were imported.
    shutil._copyxattr = lambda *arguments, **named: None
    tempfile._O_TMPFILE_WORKS = False

    # -- names and numbers that it has ---------------------------------------------------------
    time.CLOCK_UPTIME_RAW, time.CLOCK_MONOTONIC_RAW = AWAKE, CONTINUOUS
    OWN_NUMBERS = 0x4D00  # DARWIN in kernel.c
    fcntl.F_GETLK, fcntl.F_GETPATH = OWN_NUMBERS + 7, OWN_NUMBERS + 50
    fcntl.F_FULLFSYNC, fcntl.F_DUPFD_CLOEXEC = OWN_NUMBERS + 51, OWN_NUMBERS + 67
    fcntl.F_RDLCK, fcntl.F_UNLCK, fcntl.F_WRLCK = 1, 2, 3
    linux_uname = os.uname()
    # An Intel machine: on the others the C call is named statfs, as Linux's own is.
    darwin_uname = ("Darwin", linux_uname.nodename, "25.5.0", "Darwin Kernel Version", "x86_64")
    os.uname = lambda: type(linux_uname)(darwin_uname)
    sys.platform = "darwin"
    # The standard library imports it there to read the proxies of the system.
    sys.modules["_scproxy"] = types.ModuleType("_scproxy")
    sys.modules["_scproxy"]._get_proxy_settings = sys.modules["_scproxy"]._get_proxies = dict

    # -- kqueue --------------------------------------------------------------------------------
    select.KQ_FILTER_READ, select.KQ_FILTER_WRITE, select.KQ_FILTER_PROC = -1, -2, -5
    select.KQ_EV_ADD, select.KQ_EV_DELETE, select.KQ_EV_ONESHOT = 0x1, 0x2, 0x10
    select.KQ_NOTE_EXIT = 0x80000000
    BITS = {select.KQ_FILTER_READ: ~WRITABLE, select.KQ_FILTER_WRITE: ~READABLE}

    OPEN_QUEUES = weakref.WeakSet()

    class Event:
        def __init__(self, ident, filter=-1, flags=1, fflags=0, data=0, udata=0):
            self.ident = ident if isinstance(ident, int) else ident.fileno()
            self.filter, self.flags, self.fflags, self.data = filter, flags, fflags, data

    class Queue:
        """EVFILT_READ, EVFILT_WRITE, and EVFILT_PROC with NOTE_EXIT."""

        def __init__(self):
            self.epoll, self.exits, self.files, self.closed = linux_epoll(), {}, {}, False
            OPEN_QUEUES.add(self)

        def fileno(self):
            if self.closed:
                raise ValueError("I/O operation on closed kqueue object")
            return self.epoll.fileno()

        def control(self, changes, most, timeout=None):
            self.fileno()
            if timeout is not None and timeout < 0:
                raise ValueError("timeout must be positive or None")
            for change in changes or ():
                if change.filter == select.KQ_FILTER_PROC:
                    self.watch_exit(change)
                else:
                    self.watch_file(change)
            events = []
            for descriptor, mask in self.epoll.poll(timeout, most) if most else ():
                if descriptor in self.exits:
                    events.append(self.exit_event(descriptor))
                    continue
                for filter in self.files.get(descriptor, ()):
                    if mask & BITS[filter]:
                        events.append(Event(descriptor, filter))
            return events

        def watch_exit(self, change):
            try:
                with open(f"/proc/{change.ident}/stat", "rb") as file:
                    state = file.read().rpartition(b") ")[2][:1]
                if state in b"ZX":  # xnu finds no zombie
                    raise FileNotFoundError
                descriptor = linux_pidfd_open(change.ident)
            except FileNotFoundError:
                raise ProcessLookupError(errno.ESRCH, "No such process") from None
            self.exits[descriptor] = change
            self.epoll.register(descriptor, READABLE)

        def exit_event(self, descriptor):
            change = self.exits[descriptor]
            if change.flags & select.KQ_EV_ONESHOT:
                self.epoll.unregister(descriptor)
                del self.exits[descriptor]
                os.close(descriptor)
            return Event(change.ident, select.KQ_FILTER_PROC, 0x8010, select.KQ_NOTE_EXIT)

        def watch_file(self, change):
            filters = self.files.setdefault(change.ident, set())
            known = bool(filters)
            if change.flags & select.KQ_EV_DELETE:
                if change.filter not in filters:
                    raise FileNotFoundError(errno.ENOENT, "No such file or directory")
                filters.discard(change.filter)
            else:
                filters.add(change.filter)
            mask = READABLE if select.KQ_FILTER_READ in filters else 0
            mask |= WRITABLE if select.KQ_FILTER_WRITE in filters else 0
            if filters:
                (self.epoll.modify if known else self.epoll.register)(change.ident, mask)
            else:
                del self.files[change.ident]
                self.epoll.unregister(change.ident)

        def close(self):
            if not self.closed:
                self.closed = True
                for descriptor in self.exits:
                    os.close(descriptor)
                self.epoll.close()

        def __del__(self):
            self.close()

    class BareNumber:
        """A kqueue of Python 3.11 in the child of a fork: Darwin closed it, and 3.11 does not
        know, so that close() closes what has the number since."""

        def __init__(self, number):
            self.number = number

        def fileno(self):
            return self.number

        def close(self):
            try:
                os.close(self.number)
                record(f"closed another file's descriptor {self.number} after a fork")
            except OSError:
                pass

        def __getattr__(self, name):
            raise OSError(errno.EBADF, "Bad file descriptor")

    def close_queues_in_child():
        for queue in list(OPEN_QUEUES):
            if queue.closed:
                continue
            number = queue.epoll.fileno()
            queue.close()
            if sys.version_info < (3, 12):
                queue.closed, queue.exits, queue.epoll = False, {}, BareNumber(number)

    os.register_at_fork(after_in_child=close_queues_in_child)
    select.kqueue, select.kevent = Queue, Event
    # They chose a selector when they were imported.
    for package in ("selectors", "asyncio", "socketserver"):
        for loaded in [n for n in sys.modules if n == package or n.startswith(f"{package}.")]:
            del sys.modules[loaded]
    import selectors

    subprocess.selectors, subprocess._PopenSelector = selectors, selectors.PollSelector

    # -- no /proc, except for psutil and this file ---------------------------------------------
    def may_see_proc():
        frame = sys._getframe(2)
        for _ in range(12):
            if frame is None:
                return False
            if "/psutil/" in frame.f_code.co_filename or frame.f_code.co_filename == __file__:
                return True
            frame = frame.f_back
        return False

    def is_of_linux(path):
        return not isinstance(path, int) and (os.fsdecode(path) + "/").startswith(
            ("/proc/", "/sys/")
        )

    def hide(path):
        record(f"touched {os.fsdecode(path)}")
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", os.fsdecode(path))

    def audit(event, arguments):
        if event in ("open", "os.listdir", "os.scandir") and arguments:
            path = arguments[0]
            if path is not None and is_of_linux(path) and not may_see_proc():
                hide(path)

    sys.addaudithook(audit)

    def without_proc(real):
        @functools.wraps(real)
        def call(path, *rest, **named):
            if is_of_linux(path) and not may_see_proc():
                hide(path)
            return real(path, *rest, **named)

        return call

    for name in ("readlink", "stat", "lstat"):
        setattr(os, name, without_proc(getattr(os, name)))

    # -- socket paths of 104 bytes -------------------------------------------------------------
    def with_short_path(real):
        @functools.wraps(real)
        def call(self, address):
            if self.family == socket.AF_UNIX and len(os.fsencode(address)) >= 104:
                raise OSError("AF_UNIX path too long")
            return real(self, address)

        return call

    for name in ("bind", "connect"):
        setattr(socket.socket, name, with_short_path(getattr(socket.socket, name)))

    # -- the system's programs -----------------------------------------------------------------
    linux_popen, linux_posix_spawn = subprocess.Popen.__init__, os.posix_spawn

    def protected(environment):
        """What System Integrity Protection leaves to a program of the system."""
        return {
            name: value
            for name, value in environment.items()
            if not os.fsdecode(name).startswith("DYLD_")
        }

    def start(self, args, *rest, **named):
        if isinstance(args, (list, tuple)) and args and args[0] == "/bin/launchctl":
            args = [sys.executable, "-S", "-E", LAUNCHCTL, *args[1:]]
            hidden = ("LD_PRELOAD", "PYTHONPATH", "DARWIN_DISGUISE")
            named["env"] = {k: v for k, v in os.environ.items() if k not in hidden}
        elif isinstance(args, (list, tuple)) and args and args[0] == "/bin/sh":
            given = named.get("env")
            named["env"] = protected(os.environ if given is None else given)
        return linux_popen(self, args, *rest, **named)

    def posix_spawn(path, argv, env, **named):
        if path == "/bin/sh":
            env = protected(env)
        return linux_posix_spawn(path, argv, env, **named)

    subprocess.Popen.__init__, os.posix_spawn = start, posix_spawn

    # -- psutil --------------------------------------------------------------------------------
    if psutil is not None:
        psutil.LINUX, psutil.MACOS = False, True
        for name in ("cpu_affinity", "io_counters", "ionice", "rlimit", "cpu_num"):
            if hasattr(psutil.Process, name):
                delattr(psutil.Process, name)
