"""The events of a run, one of each kind that is shown."""

from bulkpresign.events import BytesMoved, Event, ObjectFinished, ObjectRetried, RunStarted
from bulkpresign.model import ObjectRef, Outcome

A = ObjectRef("b", "a", size=10)
EVENTS: list[Event] = [
    RunStarted("get", 4, 40),
    BytesMoved(10),
    BytesMoved(20),
    ObjectRetried(A, 1, 0.1, "SlowDown", "503 SlowDown"),
    BytesMoved(-20),
    ObjectFinished(Outcome(A, "done", 10)),
    ObjectFinished(Outcome(A, "skipped")),
    ObjectFinished(Outcome(A, "failed")),
    ObjectFinished(Outcome(A, "expired")),
]
