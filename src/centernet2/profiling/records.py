"""The records of a benchmark; `centernet2 benchmark --output` writes them as JSON."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Spread:
    """Seconds of several runs."""

    median: float
    min: float
    max: float


@dataclass(frozen=True)
class Peak:
    """The highest speed of matrix products over all sizes."""

    operations_per_second: float  # a multiply-add is two
    side: int  # of the square matrices


@dataclass(frozen=True)
class SelectedCounts:
    """What a pass selects, in all images of the batch together."""

    proposals: int
    detections: int


@dataclass(frozen=True)
class ShapeMetrics:
    """Time, memory and work at one batch size and one image size."""

    batch_size: int
    height: int
    width: int
    seconds: Spread  # of the whole pass
    stages: dict[str, Spread]  # of other passes, which waited for the device after each stage
    images_per_second: float
    peak_memory: int  # bytes; on the CPU those of the process so far
    selected: SelectedCounts | None  # None: a training step, which samples its RoIs
    operations: dict[str, int] | None  # of the whole batch by stage; None: of a training step
    operations_per_second: float | None = None
    share_of_peak: float | None = None

    def against(self, peak: Peak) -> "ShapeMetrics":
        """Add the speed in operations, and its share of the machine's peak."""
        if self.operations is None:
            return self
        speed = sum(self.operations.values()) / self.seconds.median
        return replace(
            self, operations_per_second=speed, share_of_peak=speed / peak.operations_per_second
        )


@dataclass(frozen=True)
class Benchmark:
    """The speed of a model on this machine, and what it was measured with."""

    config: str
    weights: str | None
    work: str  # inference or training
    dtype: str
    compiled: bool
    device: str
    device_name: str
    threads: int
    versions: dict[str, str]
    parameters: int
    warm_up: int
    runs: int
    peak: Peak
    shapes: list[ShapeMetrics]
