"""The errors that Tenure raises on purpose. Each has ``text``, ``remedy``, ``field`` and ``facts``.

TenureError
├── InvalidInput        a value that cannot be accepted; names the field (also a ValueError)
├── NotFound            no such profile, job, run or request (also a LookupError)
├── Conflict            changed meanwhile, the name is taken, or the wrong state
├── Refused             ownership or the owner policy forbids it; the remedy says what to start
├── OutcomeUnknown      the owner did not answer in time
│   ├── WaitTimeout     the wait is over, and the run goes on (also a TimeoutError)
│   ├── StoreBlocked    another process blocks the store
│   └── StoreUnwritable the disk is full, read-only or failing
└── CorruptStore        the store is damaged, or belongs to another profile
"""

from tenure.domain.errors import (
    Conflict,
    CorruptStore,
    InvalidInput,
    NotFound,
    OutcomeUnknown,
    Refused,
    RunFailed,
    StoreBlocked,
    StoreUnwritable,
    TenureError,
    WaitTimeout,
)

__all__ = [
    "Conflict",
    "CorruptStore",
    "InvalidInput",
    "NotFound",
    "OutcomeUnknown",
    "Refused",
    "RunFailed",
    "StoreBlocked",
    "StoreUnwritable",
    "TenureError",
    "WaitTimeout",
]
