"""Record types: what a strategy author sees of a record."""

from __future__ import annotations

import copy as copy_module
import gc
import struct
import sys
import weakref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latentspeed.ipc import Record, make_record_type

DTYPE = np.dtype(
    [
        ("price", "f8"),
        ("small", "f4"),
        ("i1", "i1"),
        ("u1", "u1"),
        ("i2", "i2"),
        ("i4", "i4"),
        ("u4", "u4"),
        ("i8", "i8"),
        ("u8", "u8"),
        ("u2", "u2"),
        ("live", "?"),
        ("pair", "S13"),
        ("levels", "f8", (3, 2)),
        ("_pad", "u1", (8,)),
    ],
    align=True,
)
Everything = make_record_type("Everything", DTYPE)
INTEGERS = {"i1": (-128, 127), "u1": (0, 255), "i2": (-(2**15), 2**15 - 1), "u2": (0, 2**16 - 1)}
INTEGERS |= {"i4": (-(2**31), 2**31 - 1), "u4": (0, 2**32 - 1), "i8": (-(2**63), 2**63 - 1), "u8": (0, 2**64 - 1)}


def test_a_new_record_is_all_zeros():
    record = Everything()
    assert bytes(record) == bytes(DTYPE.itemsize)
    assert record.price == 0.0
    assert record.pair == ""
    assert record.live is False


@settings(deadline=None)
@given(st.floats(), st.text(max_size=3), st.data())
def test_every_field_reads_back_what_was_written_and_numpy_agrees(price, pair, data):
    if "\0" in pair or len(pair.encode("utf-8", "surrogatepass")) > 13 or not pair.isprintable():
        return
    record = Everything(price=price, pair=pair, live=True)
    for name, (low, high) in INTEGERS.items():
        setattr(record, name, data.draw(st.sampled_from([low, high]) | st.integers(low, high), name))
    row = np.frombuffer(record, DTYPE)[0]
    for name in INTEGERS:
        assert getattr(record, name) == row[name]
    assert struct.pack("d", record.price) == struct.pack("d", row["price"])
    assert record.pair == pair == row["pair"].decode()


@pytest.mark.parametrize(
    "edge", [0, 1, 255, 256, 2**30 - 1, 2**30, 2**31, 2**60 - 1, 2**60, 2**63 - 1, 2**63, 2**64 - 1]
)
def test_integers_are_pythons_own_at_every_edge_of_their_size(edge):
    record = Everything(u8=edge)
    assert record.u8 == edge
    assert (record.u8 + 1, -record.u8, hash(record.u8), str(record.u8)) == (edge + 1, -edge, hash(edge), str(edge))
    assert record.u8.__reduce_ex__(2) == edge.__reduce_ex__(2)
    assert sys.getsizeof(record.u8) == sys.getsizeof(edge)
    for signed in (edge, -edge, -edge - 1):
        if -(2**63) <= signed < 2**63:
            record.i8 = signed
            assert record.i8 == signed == int(str(record.i8))


@pytest.mark.parametrize("name", INTEGERS)
def test_an_integer_out_of_range_is_refused_and_named(name):
    low, high = INTEGERS[name]
    record = Everything()
    for value in (low - 1, high + 1, 1 << 80, -(1 << 80)):
        with pytest.raises(OverflowError, match=f"{name} = "):
            setattr(record, name, value)
    assert getattr(record, name) == 0


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("price", "1.5", TypeError),
        ("price", None, TypeError),
        ("i4", 1.5, TypeError),
        ("i4", "7", TypeError),
        ("live", "False", TypeError),
        ("live", None, TypeError),
        ("live", 2, TypeError),
        ("live", 0.0, TypeError),
        ("pair", 7, TypeError),
        ("pair", "x" * 14, ValueError),
        ("pair", "é" * 7, ValueError),
        ("pair", b"x" * 14, ValueError),
        ("pair", "a\0b", ValueError),
        ("levels", [1, 2, 3], TypeError),
        ("levels", [[1, 2], [3, 4]], ValueError),
        ("levels", [[1, 2], [3, 4], [5, "x"]], TypeError),
        ("levels", np.zeros((2, 3)), ValueError),
    ],
)
def test_a_value_of_the_wrong_kind_or_length_is_refused_and_named(name, value, error):
    record = Everything(price=1.0, pair="BTC-USD")
    with pytest.raises(error, match=name):
        setattr(record, name, value)
    assert record.price == 1.0
    assert record.pair == "BTC-USD"


def test_numpy_scalars_and_enums_are_accepted():
    record = Everything(price=np.float64(2.5), i4=np.int32(-3), live=np.bool_(True), u8=np.uint64(2**63))
    assert (record.price, record.i4, record.live, record.u8) == (2.5, -3, True, 2**63)


def test_text_takes_bytes_with_another_fields_padding_and_keeps_odd_bytes():
    record = Everything(pair=b"ETH\0\0\0")
    assert record.pair == "ETH"
    odd = Everything(pair=b"\xff\xfe")
    assert Everything(pair=odd.pair) == odd


def test_an_array_field_is_a_view_of_the_record():
    record = Everything()
    record.levels = [[1, 2], [3, 4], [5, 6]]
    view = np.asarray(record.levels)
    view[2, 1] = 60
    assert record.levels.tolist() == [[1, 2], [3, 4], [5, 60]]
    record.levels = np.arange(6.0).reshape(3, 2)
    assert view.tolist() == [[0, 1], [2, 3], [4, 5]]


def test_an_array_view_keeps_the_record_alive():
    view = Everything(levels=[[1, 2], [3, 4], [5, 6]]).levels
    gc.collect()
    assert view.tolist() == [[1, 2], [3, 4], [5, 6]]


def test_set_changes_all_fields_or_none():
    record = Everything(price=1.0, i4=1)
    record.set(price=2.0, i4=2)
    assert (record.price, record.i4) == (2.0, 2)
    for bad in ({"price": 3.0, "i4": "x"}, {"price": 3.0, "nothing": 1}):
        with pytest.raises(TypeError):
            record.set(**bad)
    assert (record.price, record.i4) == (2.0, 2)
    with pytest.raises(TypeError, match="keyword"):
        record.set(1)


def test_a_value_that_calls_back_into_set_does_no_harm():
    record = Everything()

    class Tricky:
        def __float__(self):
            for count in range(1, 40):
                record.set(**dict.fromkeys(("price", "small", "i1", "u1")[: count % 4 + 1], 1))
            return 5.0

    record.set(price=Tricky(), i4=3)
    assert (record.price, record.i4) == (5.0, 3)


def test_the_constructor_refuses_unknown_names_and_positions():
    with pytest.raises(TypeError, match="Everything has no field 'prise'"):
        Everything(prise=1.0)
    with pytest.raises(TypeError, match="keyword"):
        Everything(1.0)


def test_copy_clear_assign_and_equality():
    record = Everything(price=1.5, pair="BTC-USD")
    copy = record.copy()
    assert copy == record
    assert copy is not record
    assert copy_module.copy(record) == copy_module.deepcopy(record) == record
    copy.price = 2.0
    assert copy != record
    copy.assign_from(record)
    assert copy == record
    copy.clear()
    assert copy == Everything()
    assert record != "record"
    with pytest.raises(TypeError):
        hash(record)
    with pytest.raises(TypeError, match="cannot be assigned"):
        record.assign_from(make_record_type("Other", np.dtype([("x", "f8")]))())


def test_as_dict_and_repr_show_every_field_but_padding():
    record = Everything(price=1.5, pair="BTC-USD", live=True)
    values = record.as_dict()
    assert list(values) == list(Everything.field_names)
    assert values["pair"] == "BTC-USD"
    assert values["levels"] == [[0.0, 0.0]] * 3
    assert "_pad" not in values
    assert repr(record).startswith("Everything(price=1.5, ")
    assert "pair='BTC-USD'" in repr(record)


def test_struct_and_memoryview_see_the_record():
    record = Everything()
    struct.pack_into("d", record, 0, 7.5)
    assert record.price == 7.5
    assert len(memoryview(record)) == DTYPE.itemsize
    with pytest.raises(AttributeError):
        del record.price


class WithProperty(Everything):
    """A subclass as the engine makes them."""

    __slots__ = ()

    @property
    def twice(self) -> float:
        return 2 * self.price


class WithState(Everything):
    """A subclass with state of its own and another constructor."""

    def __init__(self, note: str, **fields) -> None:
        super().__init__(**fields)
        self.note = note


def test_a_subclass_adds_properties_and_state():
    record = WithProperty(price=2.0)
    assert record.twice == 4.0
    assert type(record.copy()) is WithProperty
    assert record == Everything(price=2.0)
    noted = WithState("hello", price=3.0)
    assert (noted.note, noted.price) == ("hello", 3.0)
    with pytest.raises(AttributeError):
        record.note = "slots"


def test_a_subclass_may_hide_a_field_behind_a_property_of_its_own():
    plain = make_record_type("Plain", np.dtype([("price", "f8"), ("number", "u8")]))

    class Doubled(plain):
        @property
        def price(self):
            return 2 * super().price

    record, doubled = plain(price=1.5), Doubled()
    doubled.assign_from(record)
    assert (record.price, doubled.price, doubled.number) == (1.5, 3.0, 0)
    Doubled.number = property(lambda self: -1)
    assert (doubled.number, record.number) == (-1, 0)
    with pytest.raises(AttributeError, match="size"):
        _ = record.size


def test_a_field_refuses_objects_of_other_types():
    descriptor = Everything.__dict__["price"]
    other = make_record_type("Other", np.dtype([("x", "f8")]))()
    for stranger in (1, "x", other):
        with pytest.raises(TypeError):
            descriptor.__get__(stranger)
        with pytest.raises(TypeError):
            descriptor.__set__(stranger, 1.0)
    assert (descriptor.kind, descriptor.offset, descriptor.shape) == ("f8", 0, ())


def test_the_abstract_record_cannot_be_made():
    with pytest.raises(TypeError, match="make_record_type"):
        Record()


@pytest.mark.parametrize(
    ("dtype", "rule"),
    [
        (np.dtype("f8"), "no fields"),
        (np.dtype([("a", "u4")]), "multiple of 8"),
        (np.dtype([("a", "u1"), ("b", "f8"), ("c", "u1", (7,))]), "not aligned"),
        (np.dtype([("a", ">f8")]), "byte order"),
        (np.dtype([("a", "O")]), "cannot cross"),
        (np.dtype([("a", "U2")]), "cannot cross"),
        (np.dtype([("a", "M8[ns]")]), "cannot cross"),
        (np.dtype([("copy", "f8")]), "attribute"),
        (np.dtype([("class", "f8")]), "attribute"),
        (np.dtype([("two words", "f8")]), "attribute"),
        (np.dtype([("a", [("b", "f8")])]), "cannot cross"),
        (np.dtype([("a", "f8", (1, 1, 1, 1, 1))]), "dimensions"),
        (np.dtype([("a", "S4", (2,))]), "text"),
        (np.dtype({"names": ["a", "b"], "formats": ["f8", "f8"], "offsets": [0, 0]}), "overlaps"),
    ],
)
def test_a_dtype_that_cannot_cross_is_refused_with_the_rule(dtype, rule):
    with pytest.raises(ValueError, match=rule):
        make_record_type("Bad", dtype)


def test_record_types_are_collected_when_nobody_needs_them():
    made = make_record_type("Short", np.dtype([("x", "f8")]))
    sub = type("Sub", (made,), {})
    assert sub(x=1.0).x == 1.0
    ends = [weakref.ref(made), weakref.ref(sub)]
    del made, sub
    gc.collect()
    assert [end() for end in ends] == [None, None]


def test_a_class_that_changes_after_its_fields_were_read_is_read_as_it_now_is():
    made = make_record_type("Changing", np.dtype([("price", "f8"), ("size", "f8")]))
    parent = type("Parent", (made,), {"__slots__": ()})
    child = type("Child", (parent,), {"__slots__": ()})
    record, other = child(price=1.5, size=2.0), made(price=9.0)
    assert [record.price for _ in range(3)] == [1.5] * 3
    parent.price = property(lambda self: "hidden")
    assert (record.price, record.size, other.price) == ("hidden", 2.0, 9.0)
    child.price = made.__dict__["size"]
    assert record.price == 2.0
    del child.price, parent.price
    assert record.price == 1.5
    record.__class__ = parent
    assert record.price == 1.5


def test_many_classes_and_names_do_not_read_each_others_fields():
    kinds = [
        make_record_type(f"Kind{k}", np.dtype([(f"field_{(k + i) % 40}", "u8") for i in range(40)])) for k in range(40)
    ]
    records = [kind(**{name: k * 1000 + i for i, name in enumerate(kind.field_names)}) for k, kind in enumerate(kinds)]
    for _ in range(2):
        for k, record in enumerate(records):
            assert [getattr(record, name) for name in record.field_names] == [k * 1000 + i for i in range(40)]
            assert [getattr(record, f"field_{i}") for i in range(40)] == [k * 1000 + (i - k) % 40 for i in range(40)]
    del kinds, records, record
    gc.collect()
    again = make_record_type("Kind0", np.dtype([("field_1", "u8"), ("field_0", "u8")]))(field_1=1, field_0=2)
    assert (again.field_1, again.field_0) == (1, 2)
