from latentspeed.connectors import ConnectorType, OrderState, OrderType, PositionAction, TradeType, enum_name


def test_enum_names_are_the_members_names():
    assert enum_name(ConnectorType, 2) == "DERIVATIVE_PERPETUAL"
    assert enum_name(OrderType, OrderType.LIMIT_MAKER) == "LIMIT_MAKER"
    assert enum_name(TradeType, 2) == "SELL"
    assert enum_name(PositionAction, 0) == "NIL"


def test_anything_else_is_named_unknown():
    for value in (99, -1, None, "LIMIT", 1.5, object(), [], float("nan")):
        assert enum_name(OrderType, value) == "UNKNOWN", value


def test_the_four_ends_are_final_and_nothing_else_is():
    assert {state.name for state in OrderState if state.is_final} == {"FILLED", "CANCELLED", "EXPIRED", "FAILED"}


def test_numbers_of_the_record_layout_do_not_move():
    assert [state.name for state in OrderState] == [
        "UNKNOWN",
        "PENDING_CREATE",
        "PENDING_SUBMIT",
        "OPEN",
        "PARTIALLY_FILLED",
        "PENDING_CANCEL",
        "FILLED",
        "CANCELLED",
        "EXPIRED",
        "FAILED",
    ]
    assert [kind.name for kind in ConnectorType] == [
        "UNKNOWN",
        "SPOT",
        "DERIVATIVE_PERPETUAL",
        "DERIVATIVE_FUTURES",
        "AMM_DEX",
        "ORDERBOOK_DEX",
    ]
    assert [kind.value for kind in OrderState] == list(range(10))
