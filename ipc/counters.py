"""Labelled 64-bit counters and latency histograms, written by the gateway and read by anyone.

    counters      labels in use (u64) | pad to 64 | labels, 64 bytes each | values (u64 each)
    histograms    labels in use (u64) | pad to 64 | labels, 64 bytes each | histograms, 8 KiB each

A label is written whole before the number in use counts it, and never changes after. A histogram has 16 linear buckets
per power of two, so a percentile is exact to 6.25 %.
"""

from __future__ import annotations

from dataclasses import dataclass

from latentspeed.ipc._core import HISTOGRAM_SIZE, LINE, Histogram, Mapping, Word
from latentspeed.ipc.layout import LABEL_SIZE, Section, SectionKind, SegmentLayout

_SUB_BUCKETS = 16


class Labels:
    """The labels of a section, found by text and added by the one writer."""

    def __init__(self, mapping: Mapping, section: Section) -> None:
        self._mapping = mapping
        self._section = section
        self._used = Word(mapping, section.offset)
        self._known: dict[str, int] = {}

    @property
    def body(self) -> int:
        """Offset of what the labels name."""
        return self._section.offset + LINE + LABEL_SIZE * self._section.count

    def read(self) -> dict[str, int]:
        """Labels and their indexes, as of now."""
        used = min(self._used.load(), self._section.count)
        view = memoryview(self._mapping)
        for index in range(len(self._known), used):
            start = self._section.offset + LINE + LABEL_SIZE * index
            self._known[bytes(view[start : start + LABEL_SIZE]).rstrip(b"\0").decode(errors="replace")] = index
        return self._known

    def index(self, label: str) -> int:
        """The label's index; it is added when it is new. Raises ValueError when it is too long or none is left."""
        known = self.read()
        if label in known:
            return known[label]
        encoded = label.encode()
        if not 0 < len(encoded) <= LABEL_SIZE or b"\0" in encoded:
            raise ValueError(f"label {label!r}: 1 to {LABEL_SIZE} bytes without NUL wanted")
        index = self._used.load()
        if index >= self._section.count:
            raise ValueError(f"label {label!r}: all {self._section.count} {self._section.name} are in use")
        self._mapping.fill(self._section.offset + LINE + LABEL_SIZE * index, encoded.ljust(LABEL_SIZE, b"\0"))
        self._used.store(index + 1)
        known[label] = index
        return index


class CounterSection:
    """The counters of a mapped segment."""

    def __init__(self, mapping: Mapping, layout: SegmentLayout) -> None:
        self._mapping = mapping
        self._labels = Labels(mapping, layout.section(SectionKind.COUNTERS))

    def counter(self, label: str) -> Word:
        """The counter of that label, made when it is new; keep it, the look-up is not for hot paths."""
        return Word(self._mapping, self._labels.body + 8 * self._labels.index(label))

    def read(self) -> dict[str, int]:
        """All counters by label."""
        return {
            label: Word(self._mapping, self._labels.body + 8 * index).load()
            for label, index in self._labels.read().items()
        }


class HistogramSection:
    """The histograms of a mapped segment."""

    def __init__(self, mapping: Mapping, layout: SegmentLayout) -> None:
        self._mapping = mapping
        self._labels = Labels(mapping, layout.section(SectionKind.HISTOGRAMS))

    def histogram(self, label: str) -> Histogram:
        """The histogram of that label, made when it is new; keep it, the look-up is not for hot paths."""
        return Histogram(self._mapping, self._labels.body + HISTOGRAM_SIZE * self._labels.index(label))

    def read(self) -> dict[str, HistogramSnapshot]:
        """All histograms by label."""
        return {
            label: HistogramSnapshot.of(Histogram(self._mapping, self._labels.body + HISTOGRAM_SIZE * index))
            for label, index in self._labels.read().items()
        }


@dataclass(frozen=True, slots=True)
class HistogramSnapshot:
    """What a histogram held at about one moment; values in nanoseconds."""

    count: int
    total: int
    min: int
    max: int
    buckets: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, histogram: Histogram) -> HistogramSnapshot:
        """Read a histogram that may be written meanwhile: the count is that of the buckets read."""
        total, low, high, buckets = histogram.read()
        ordered = tuple(sorted(buckets.items()))
        return cls(sum(n for _, n in ordered), total, low, high, ordered)

    @property
    def mean(self) -> float:
        """0 when nothing was recorded."""
        return self.total / self.count if self.count else 0.0

    def percentile(self, p: float) -> int:
        """The value that `p` percent of the recorded ones do not exceed, to 6.25 %; 0 when there are none."""
        if not 0 <= p <= 100:
            raise ValueError(f"percentile {p} is not in 0 .. 100")
        wanted = max(1, -(-self.count * p // 100))
        seen = 0
        for bucket, count in self.buckets:
            seen += count
            if seen >= wanted:
                return max(self.min, min(_highest(bucket), self.max))
        return self.max


def _highest(bucket: int) -> int:
    """The highest value that falls into a bucket."""
    if bucket < _SUB_BUCKETS:
        return bucket
    shift = bucket // _SUB_BUCKETS - 1
    return ((bucket - shift * _SUB_BUCKETS + 1) << shift) - 1
