"""All parts of the suite in one class."""

from tenure.testing.conformance.claims import ClaimsConformance
from tenure.testing.conformance.foreign import ForeignConformance
from tenure.testing.conformance.foreign_held import ForeignHeldConformance
from tenure.testing.conformance.jobs import JobsConformance
from tenure.testing.conformance.looking_on import LookingOnConformance
from tenure.testing.conformance.omissions import OmissionsConformance
from tenure.testing.conformance.owning import OwningConformance
from tenure.testing.conformance.processes import ProcessesConformance
from tenure.testing.conformance.requests import RequestsConformance
from tenure.testing.conformance.runs import RunsConformance
from tenure.testing.conformance.upkeep import UpkeepConformance


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
