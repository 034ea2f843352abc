"""One suite that every connector passes, as a package and a pytest plugin. It knows no venue.

The author of a connector writes a `ConformanceHarness` and one class:

    class TestMyConnector(ConnectorConformance):
        harness = MyHarness
"""

from latentspeed.tools.conformance.harness import (
    Ability,
    ConformanceHarness,
    Fault,
    VenueBook,
    VenueFill,
    VenueOrder,
    VenueState,
)

__all__ = ["Ability", "ConformanceHarness", "Fault", "VenueBook", "VenueFill", "VenueOrder", "VenueState"]
