"""All parts of the suite in one class."""

from testkit.conformance.claims import ClaimsConformance
from testkit.conformance.foreign import ForeignConformance
from testkit.conformance.foreign_held import ForeignHeldConformance
from testkit.conformance.jobs import JobsConformance
from testkit.conformance.maintenance import MaintenanceConformance
from testkit.conformance.monitoring import MonitoringConformance
from testkit.conformance.omissions import OmissionsConformance
from testkit.conformance.ownership import OwnershipConformance
from testkit.conformance.processes import ProcessesConformance
from testkit.conformance.requests import RequestsConformance
from testkit.conformance.runs import RunsConformance


class StoreConformance(
    ProcessesConformance,
    OwnershipConformance,
    JobsConformance,
    ClaimsConformance,
    OmissionsConformance,
    ForeignConformance,
    ForeignHeldConformance,
    RunsConformance,
    MonitoringConformance,
    RequestsConformance,
    MaintenanceConformance,
):
    """Subclass it, give it ``make_store``, and run it with pytest."""
