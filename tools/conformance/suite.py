"""The suite as one class, to be inherited by a test class of a connector."""

from __future__ import annotations

from typing import ClassVar

from latentspeed.tools.conformance.account_cases import AccountCases
from latentspeed.tools.conformance.compound_cases import CompoundCases
from latentspeed.tools.conformance.event_cases import EventCases
from latentspeed.tools.conformance.fault_cases import FaultCases
from latentspeed.tools.conformance.harness import ConformanceHarness
from latentspeed.tools.conformance.order_cases import OrderCases
from latentspeed.tools.conformance.rule_cases import RuleCases
from latentspeed.tools.conformance.session_cases import SessionCases


class ConnectorConformance(OrderCases, CompoundCases, RuleCases, EventCases, AccountCases, SessionCases, FaultCases):
    """Every case. Set `harness` to the class of your harness; cases may be added, none may be taken away."""

    harness: ClassVar[type[ConformanceHarness]]
