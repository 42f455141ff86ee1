"""What is counted, for `GET /metrics`: docs/monitoring.md tells what each number means.

One registry for each Guard. Labels have few values: targets and places as the settings name them, words of our own.
Runs, records and addresses are in none of them (I10). Counters are fed where everything passes by: entries that this
process appended (`journaled`), calls of the store, calls of vendors, requests.
"""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from guard.core.entries import Event
from guard.core.lifecycle import OperationState, RunState

Attempted = Callable[[str, float], None]
"""What came of an attempt to call a vendor, in one word, and how many seconds it took."""

_QUICK_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_LONG_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)


class Metrics:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._runs = self._counter("guard_runs", "Runs begun, those of reverts included.", "target", "kind")
        self._operations = self._counter("guard_operations", "Operations ended.", "target", "status")
        self._records = self._counter("guard_records", "Records of ended operations.", "target", "outcome")
        self._reverts = self._counter("guard_reverts", "Reverts ended.", "status")
        self._restored = self._counter("guard_reverted_records", "Records of ended reverts.", "target", "outcome")
        self._vendor = self._counter("guard_vendor_calls", "Calls of vendors' APIs.", "target", "outcome")
        self._vendor_s = self._histogram("guard_vendor_seconds", "Until the answer's head.", _LONG_S, "target")
        self._store = self._counter("guard_store_calls", "Round trips to the store.", "call", "outcome")
        self._store_s = self._histogram("guard_store_seconds", "Of one round trip to the store.", _QUICK_S, "call")
        self._requests = self._counter("guard_requests", "Requests answered.", "door", "status")
        self._requests_s = self._histogram("guard_request_seconds", "From request to end of answer.", _LONG_S, "door")
        self._messages = self._counter("guard_messages", "Attempts to tell somebody.", "place", "outcome")
        self.requests_in_hand = self._gauge("guard_requests_in_hand", "Requests not answered yet.")
        self.unfinished = self._gauge(
            "guard_runs_unfinished", "Runs of all copies with an end to come, at the last sweep."
        )
        self.watchers = self._gauge("guard_watchers", "Callers that watch a run's progress.")
        self.runs_in_hand = self._gauge("guard_runs_in_hand", "Runs this process works at.")
        self.queue_jobs = self._gauge("guard_queue_jobs", "Jobs waiting or being driven, as far as known.")
        self.draining = self._gauge("guard_draining", "1: about to end, begins nothing more.")

    def _counter(self, name: str, told: str, *labels: str) -> Counter:
        return Counter(name, told, labels, registry=self.registry)

    def _histogram(self, name: str, told: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(name, told, labels, buckets=buckets, registry=self.registry)

    def _gauge(self, name: str, told: str) -> Gauge:
        return Gauge(name, told, registry=self.registry)

    def text(self) -> bytes:
        """Prometheus's text format."""
        return generate_latest(self.registry)

    def journaled(self, state: RunState, event: Event) -> None:
        """An event that this process appended: of all copies exactly one did, so their sums are right."""
        match event["e"]:
            case "begun" if event["op"] == next(iter(state.operations)):
                self._runs.labels(event["target"], state.opened["kind"]).inc()
            case "ended":
                self._ended(state.operations[event["op"]], revert=state.opened["kind"] == "revert")
            case "revert_ended":
                self._reverts.labels(event["status"]).inc()

    def _ended(self, operation: OperationState, *, revert: bool) -> None:
        ended = operation.ended
        if revert:
            for outcome, number in ended.get("verdicts", {}).items():
                self._restored.labels(operation.target, outcome).inc(number)
            return
        self._operations.labels(operation.target, ended["status"]).inc()
        failed = operation.count("failed") + ended.get("not_sent", 0)
        in_doubt = operation.count("unknown") + operation.unsettled()
        for outcome, number in (("applied", operation.count("applied")), ("failed", failed), ("in_doubt", in_doubt)):
            self._records.labels(operation.target, outcome).inc(number)

    def vendor(self, target: str) -> Attempted:
        """Of one target; its numbers are there, as zero, before its first call."""
        seconds = self._vendor_s.labels(target)
        self._vendor.labels(target, "2xx")

        def attempted(outcome: str, took_s: float) -> None:
            self._vendor.labels(target, outcome).inc()
            seconds.observe(took_s)

        return attempted

    def stored(self, call: str, outcome: str, took_s: float) -> None:
        self._store.labels(call, outcome).inc()
        self._store_s.labels(call).observe(took_s)

    def answered(self, door: str, status: int, took_s: float) -> None:
        self._requests.labels(door, str(status)).inc()
        self._requests_s.labels(door).observe(took_s)

    def told(self, place: str, outcome: str) -> None:
        """outcome: delivered, failed, given_up. place: as the settings call it; empty: a callback."""
        self._messages.labels(place or "callback", outcome).inc()


def uncounted(_: str, __: float) -> None:
    """For clients that nobody counts."""
