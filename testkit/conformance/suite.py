"""All parts of the suite in one class."""

from testkit.conformance.claims import ClaimsConformance
from testkit.conformance.foreign import ForeignConformance
from testkit.conformance.foreign_held import ForeignHeldConformance
from testkit.conformance.jobs import JobsConformance
from testkit.conformance.monitoring import LookingOnConformance
from testkit.conformance.omissions import OmissionsConformance
from testkit.conformance.owning import OwningConformance
from testkit.conformance.processes import ProcessesConformance
from testkit.conformance.requests import RequestsConformance
from testkit.conformance.runs import RunsConformance
from testkit.conformance.upkeep import UpkeepConformance


class StoreConformance(
    ProcessesConformance,
    OwningConformance,
    JobsConformance,
    ClaimsConformance,
    OmissionsConformance,
    ForeignConformance,
    ForeignHeldConformance,
    RunsConformance,
    LookingOnConformance,
    RequestsConformance,
    UpkeepConformance,
):
    """Subclass it, give it ``make_store``, and run it with pytest."""
