/* The calls of macOS that Tenure makes, answered from Linux's /proc.
 *
 * Preloaded into a Python that disguise/sitecustomize.py makes look like Darwin's. Sizes, offsets
 * and numbers are those of xnu (bsd/sys: proc_info_private.h, codesign.h, mount.h, fcntl.h, un.h).
 * What Linux does not have comes from the environment of the process that is asked about, which
 * its children inherit as they inherit a coalition: DARWIN_COALITION=ID:NAME,
 * DARWIN_RESPONSIBLE=PID, DARWIN_SIGNATURE=none|adhoc|valid[:TEAM], DARWIN_FILE_SYSTEM=NAME[!]
 * ("!": not local).
 *
 * cc -shared -fPIC -O1 -o libdarwin.so kernel.c -ldl
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

/* -- what Linux shows of a process --------------------------------------------------------- */

struct process {
    char state;
    int parent;
    unsigned long long ticks; /* from the boot to its start */
};

static int fail(int error) {
    errno = error;
    return -1;
}

/* Returns 0, or -1 where no process has the pid. */
static int find_process(int pid, struct process *found) {
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return -1;
    ssize_t length = read(file, text, sizeof text - 1);
    close(file);
    if (length <= 0) return -1;
    text[length] = 0;
    /* The name in brackets may hold anything; the third field is behind the last bracket. */
    char *field = strrchr(text, ')');
    if (!field) return -1;
    char *rest = NULL;
    field = strtok_r(field + 1, " ", &rest);
    for (int number = 3; field; number++, field = strtok_r(NULL, " ", &rest)) {
        if (number == 3) found->state = *field;
        if (number == 4) found->parent = atoi(field);
        if (number == 22) {
            found->ticks = strtoull(field, NULL, 10);
            return 0;
        }
    }
    return -1;
}

static int has_ended(const struct process *found) {
    return found->state == 'Z' || found->state == 'X';
}

/* A variable of the environment that the process was started with; NULL: not set, or hidden. */
static const char *setting(int pid, const char *name, char *value, size_t size) {
    static __thread char text[1 << 18];
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/environ", pid);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return NULL;
    ssize_t length = read(file, text, sizeof text - 1);
    close(file);
    if (length <= 0) return NULL;
    text[length] = 0;
    size_t prefix = strlen(name);
    for (char *entry = text; entry < text + length; entry += strlen(entry) + 1) {
        if (strncmp(entry, name, prefix) == 0 && entry[prefix] == '=') {
            snprintf(value, size, "%s", entry + prefix + 1);
            return value;
        }
    }
    return NULL;
}

/* -- libproc ------------------------------------------------------------------------------- */

enum { UNIQUE_IDENTIFIER = 17, COALITIONS = 20 };

struct unique_identifier {
    uint8_t uuid[16];
    uint64_t number, launcher;
    int32_t version, original_version;
    uint64_t reserved[2];
};

struct coalitions {
    uint64_t resource, jetsam, reserved[3];
};

_Static_assert(sizeof(struct unique_identifier) == 56, "proc_uniqidentifierinfo");
_Static_assert(sizeof(struct coalitions) == 40, "proc_pidcoalitioninfo");

/* Grows with the start, as xnu's does, and stays below a microsecond stamp. */
static uint64_t unique_number(int pid, const struct process *process) {
    return pid == 1 ? 1 : (process->ticks + 1) * 65536 + (uint64_t)pid;
}

int proc_pidinfo(int pid, int flavor, uint64_t argument, void *buffer, int size) {
    (void)argument;
    struct process process, launcher;
    char text[256];
    int needed = flavor == UNIQUE_IDENTIFIER ? 56 : flavor == COALITIONS ? 40 : 0;
    errno = needed == 0 ? EINVAL : size < needed ? ENOMEM : 0;
    if (errno) return 0;
    if (find_process(pid, &process) || has_ended(&process)) {
        errno = ESRCH;
        return 0;
    }
    memset(buffer, 0, needed);
    if (flavor == UNIQUE_IDENTIFIER) {
        struct unique_identifier *answer = buffer;
        answer->number = unique_number(pid, &process);
        answer->launcher = process.parent && !find_process(process.parent, &launcher)
                               ? unique_number(process.parent, &launcher)
                               : 1;
        answer->version = pid;
    } else {
        struct coalitions *answer = buffer;
        const char *given = setting(pid, "DARWIN_COALITION", text, sizeof text);
        answer->resource = given ? strtoull(given, NULL, 10) : 900;
        answer->jetsam = answer->resource + 1;
    }
    return needed;
}

int responsibility_get_pid_responsible_for_pid(int pid) {
    struct process process;
    char text[32];
    if (find_process(pid, &process)) return -1;
    const char *given = setting(pid, "DARWIN_RESPONSIBLE", text, sizeof text);
    return given ? atoi(given) : pid;
}

/* -- code signatures ----------------------------------------------------------------------- */

enum { CODE_STATUS = 0, CODE_HASH = 5, CODE_TEAM = 14 };
enum { VALID = 0x1, ADHOC = 0x2, LINKER_SIGNED = 0x20000 };

int csops(int pid, unsigned operation, void *buffer, size_t size) {
    struct process process;
    char text[256];
    if (find_process(pid, &process) || has_ended(&process)) return fail(ESRCH);
    const char *given = setting(pid, "DARWIN_SIGNATURE", text, sizeof text);
    const char *kind = given ? given : "adhoc";
    int valid = strncmp(kind, "none", 4) != 0, adhoc = strncmp(kind, "adhoc", 5) == 0;
    if (operation == CODE_STATUS) {
        uint32_t flags = (valid ? VALID : 0) | (adhoc ? ADHOC | LINKER_SIGNED : 0);
        if (size != sizeof flags) return fail(EINVAL);
        memcpy(buffer, &flags, sizeof flags);
        return 0;
    }
    if (operation == CODE_HASH) {
        if (size != 20) return fail(EINVAL);
        if (!valid) return fail(ENOEXEC);
        memset(buffer, 0xA5, 20);
        return 0;
    }
    if (operation != CODE_TEAM) return fail(EINVAL);
    const char *colon = strchr(kind, ':');
    if (size < 8) return fail(ERANGE);
    if (!valid) return fail(EINVAL);
    if (adhoc || !colon) return fail(ENOENT);
    size_t length = strlen(colon + 1) + 1;
    uint32_t header[2] = {0, __builtin_bswap32((uint32_t)(length + 8))};
    if (size < 8 + length) return fail(ERANGE);
    memcpy(buffer, header, 8);
    memcpy((char *)buffer + 8, colon + 1, length);
    return 0;
}

/* -- the machine and its boot -------------------------------------------------------------- */

int sysctlbyname(const char *name, void *old, size_t *size, void *new, size_t new_size) {
    (void)new, (void)new_size;
    char text[64] = "";
    if (strcmp(name, "kern.bootsessionuuid") != 0) return fail(ENOENT);
    int file = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    if (file < 0) return fail(ENOENT);
    ssize_t length = read(file, text, sizeof text - 1);
    close(file);
    if (length <= 0) return fail(ENOENT);
    text[strcspn(text, "\n")] = 0;
    for (char *letter = text; *letter; letter++) *letter = (char)toupper((unsigned char)*letter);
    size_t needed = strlen(text) + 1;
    if (old && *size < needed) return fail(ENOMEM);
    if (old) memcpy(old, text, needed);
    *size = needed;
    return 0;
}

int gethostuuid(unsigned char id[16], const struct timespec *patience) {
    /* Tenure waits one second: a wrong layout would show here. */
    if (patience->tv_sec != 1 || patience->tv_nsec != 0) return fail(EINVAL);
    for (int i = 0; i < 16; i++) id[i] = (unsigned char)(0x10 + i);
    return 0;
}

/* -- files --------------------------------------------------------------------------------- */

struct darwin_statfs {
    uint32_t block_size;
    int32_t io_size;
    uint64_t blocks, free, available, files, free_files;
    int32_t id[2];
    uint32_t owner, type, flags, subtype;
    char type_name[16], mounted_on[1024], mounted_from[1024];
    uint32_t extended_flags, reserved[7];
};

_Static_assert(sizeof(struct darwin_statfs) == 2168, "statfs with 64-bit inodes");
enum { MOUNT_LOCAL = 0x1000, RENAME_SWAP = 2 };

static int statfs_of_darwin(const char *path, struct darwin_statfs *answer) {
    struct stat state;
    if (stat(path, &state)) return -1;
    const char *given = getenv("DARWIN_FILE_SYSTEM");
    memset(answer, 0, sizeof *answer);
    answer->flags = given && strchr(given, '!') ? 0 : MOUNT_LOCAL;
    snprintf(answer->type_name, sizeof answer->type_name, "%s", given ? given : "apfs");
    answer->type_name[strcspn(answer->type_name, "!")] = 0;
    strcpy(answer->mounted_on, "/System/Volumes/Data");
    return 0;
}

int statfs_inode64(const char *path, struct darwin_statfs *answer) __asm__("statfs$INODE64");
int statfs_inode64(const char *path, struct darwin_statfs *answer) {
    return statfs_of_darwin(path, answer);
}

int renamex_np(const char *from, const char *to, unsigned flags) {
    if (flags != RENAME_SWAP) return fail(EINVAL);
    return renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_EXCHANGE);
}

int getsockopt(int socket, int level, int name, void *value, socklen_t *size) {
    int (*real)(int, int, int, void *, socklen_t *) = dlsym(RTLD_NEXT, "getsockopt");
    enum { LOCAL = 0, PEER_PID = 2 };
    if (level != LOCAL || name != PEER_PID) return real(socket, level, name, value, size);
    struct ucred peer;
    socklen_t length = sizeof peer;
    if (*size < sizeof peer.pid) return fail(EINVAL);
    if (real(socket, SOL_SOCKET, SO_PEERCRED, &peer, &length)) return -1;
    memcpy(value, &peer.pid, sizeof peer.pid);
    *size = sizeof peer.pid;
    return 0;
}

/* The disguise adds this to Darwin's numbers, which mean other things to the rest of the process
 * (SQLite also calls fcntl). */
enum { DARWIN = 0x4D00, GET_LOCK = 7, GET_PATH = 50, FULL_SYNC = 51, COPY_CLOSED_ON_EXEC = 67 };
enum { READ_LOCK = 1, NO_LOCK = 2, WRITE_LOCK = 3 };

struct darwin_flock {
    int64_t start, length;
    int32_t pid;
    int16_t type, whence;
};

_Static_assert(sizeof(struct darwin_flock) == 24, "flock");

static int (*real_fcntl(void))(int, int, ...) {
    int (*real)(int, int, ...) = dlsym(RTLD_NEXT, "fcntl64");
    return real ? real : dlsym(RTLD_NEXT, "fcntl");
}

/* The type of a lock by flock(2) on the file, which xnu reports to F_GETLK and Linux does not. */
static int flock_on(int descriptor) {
    struct stat state;
    unsigned major_number, minor_number;
    unsigned long long inode;
    char line[256], access[16];
    int type = NO_LOCK;
    FILE *table = fstat(descriptor, &state) ? NULL : fopen("/proc/locks", "re");
    if (!table) return NO_LOCK;
    while (fgets(line, sizeof line, table)) {
        if (sscanf(line, "%*d: FLOCK %*s %15s %*d %x:%x:%llu", access, &major_number,
                   &minor_number, &inode) == 4 &&
            inode == state.st_ino && major_number == major(state.st_dev) &&
            minor_number == minor(state.st_dev))
            type = strcmp(access, "WRITE") == 0 ? WRITE_LOCK : READ_LOCK;
    }
    fclose(table);
    return type;
}

static int get_lock(int descriptor, struct darwin_flock *lock) {
    int by_flock = flock_on(descriptor);
    if (by_flock == WRITE_LOCK || (by_flock == READ_LOCK && lock->type == WRITE_LOCK)) {
        lock->type = (int16_t)by_flock;
        lock->pid = -1;
        lock->start = lock->length = 0;
        return 0;
    }
    struct flock asked = {
        .l_whence = lock->whence,
        .l_start = lock->start,
        .l_len = lock->length,
        .l_type = lock->type == WRITE_LOCK ? F_WRLCK : lock->type == READ_LOCK ? F_RDLCK : F_UNLCK,
    };
    if (real_fcntl()(descriptor, F_GETLK, &asked)) return -1;
    lock->type = asked.l_type == F_WRLCK ? WRITE_LOCK : asked.l_type == F_RDLCK ? READ_LOCK : NO_LOCK;
    if (lock->type != NO_LOCK) {
        lock->pid = asked.l_pid;
        lock->start = asked.l_start;
        lock->length = asked.l_len;
    }
    return 0;
}

static int get_path(int descriptor, char *answer) {
    char link[64], path[1024];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0 || path[0] != '/') return fail(EBADF);
    memcpy(answer, path, (size_t)length);
    answer[length] = 0;
    return 0;
}

static int control(int descriptor, int command, void *argument) {
    switch (command - DARWIN) {
    case GET_LOCK: return get_lock(descriptor, argument);
    case GET_PATH: return get_path(descriptor, argument);
    case FULL_SYNC: return fsync(descriptor);
    case COPY_CLOSED_ON_EXEC: return real_fcntl()(descriptor, F_DUPFD_CLOEXEC, argument);
    default: return real_fcntl()(descriptor, command, argument);
    }
}

int fcntl(int descriptor, int command, ...) {
    va_list arguments;
    va_start(arguments, command);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    return control(descriptor, command, argument);
}

int fcntl64(int descriptor, int command, ...) {
    va_list arguments;
    va_start(arguments, command);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    return control(descriptor, command, argument);
}
