"""A program's calls on described devices, in virtual time: list scheduling by dependences, in the order of the log.

What the program does between calls takes no time. Operands that come from outside of the calls are uploaded when they
are first used; results that no later call uses are downloaded. Where memory does not suffice, what is used again last
is moved to the host (Belady's rule, which needs the future, that the log knows).
"""

from __future__ import annotations

from collections.abc import Sequence

from ....plugin import CallLog, LoggedCall
from ..clock import SECOND, Engine, picoseconds
from ..timing import memory
from . import collectives
from .lowering import Lowered, Lowering, Missing, Origin, Piece, Refused
from .state import HOST, HOST_LINK, LINKS, Place, SimDevice, Tally, Task, Uses


class Replay:
    """One run of a log on devices of one description.

    Args:
        log: the program.
        lowering: what the devices do for each call.
        uses: of the same log.
        in_order: whether each device has one queue, whose work never overlaps.
        keep: whether tasks and tallies are kept; else there are only times.

    Attributes:
        tasks: all that was done, in the order in which it was decided.
        tallies: by op and engine.
        end: picoseconds at which everything has ended.
        fallbacks: calls that ran on the host.
        uploaded, downloaded, spilled: bytes.
        joules: of all work, without idling; None where the description has no power.
    """

    def __init__(
        self, log: CallLog, lowering: Lowering, uses: Uses, *, in_order: bool = False, keep: bool = True
    ) -> None:
        self.log, self.lowering, self.uses = log, lowering, uses
        self.description = lowering.description
        self.in_order, self.keep = in_order, keep
        self.devices = [SimDevice(self.description, i) for i in range(max(1, len(uses.devices)))]
        self.host = Engine(HOST)
        self.host_now = 0
        self.lowered: dict[int, Lowered | Refused] = {}
        self.places: dict[int, Place] = {}
        self.tasks: list[Task] = []
        self.tallies: dict[tuple[str, str], Tally] = {}
        self.end = 0
        self.fallbacks = 0
        self.uploaded = self.downloaded = self.spilled = 0
        self.joules: float | None = None if self.description.power is None else 0.0
        for call in log.calls:
            self._call(call)
        for buffer in tuple(self.places):
            self._gone(buffer, len(log.calls))

    @property
    def seconds(self) -> float:
        """Virtual time of the whole program."""
        return self.end / SECOND

    def _call(self, call: LoggedCall) -> None:
        if call.is_collective:
            self._collective(call)
        else:
            kind = self.uses.kinds[call.number]
            lowered = self.lowered.get(kind)
            if lowered is None:
                given = tuple(None if x is None else x.sig for x in call.inputs)
                lowered = self.lowered[kind] = self.lowering.lower(call.op, given, call.attributes)
            if isinstance(lowered, Lowered):
                needed = sum([self._place(b).nbytes for b in self.uses.buffers[call.number]]) + lowered.scratch
                if needed <= self.description.off_chip.bytes:
                    self._on_device(call, lowered)
                else:
                    self._on_host(call, Refused(Missing.CAPACITY, f"{needed:,} bytes at once"))
            else:
                self._on_host(call, lowered)
        for buffer in call.freed:
            self._gone(buffer, call.number)

    def _place(self, buffer: int) -> Place:
        found = self.places.get(buffer)
        if found is None:
            known = self.log.buffers[buffer]
            found = self.places[buffer] = Place(known.nbytes, self.uses.devices.get(known.device, 0))
            found.on_host = True
        return found

    # On the device.

    def _on_device(self, call: LoggedCall, lowered: Lowered) -> None:
        device = self.devices[self._place(call.outputs[0].buffer).device]
        room = self._make_room(call, device, self.uses.buffers[call.number], lowered.scratch)
        for given in self.uses.inputs[call.number]:
            self._bring(call, given.buffer, room)
        device.peak = max(device.peak, device.wanted + lowered.scratch)
        ends: list[int] = []
        makers: list[int] = []
        for piece in lowered.pieces:
            ready = room
            after: list[int] = []
            for origin in piece.sources:
                if origin.piece is not None:
                    ready = max(ready, ends[origin.piece])
                    after.append(makers[origin.piece])
                elif origin.operand is not None and (x := call.inputs[origin.operand]) is not None:
                    place = self.places[x.buffer]
                    ready = max(ready, place.device_ready)
                    after += [] if place.maker is None else [place.maker]
            # A result may take the memory of what earlier work still reads.
            for y, origin in zip(call.outputs, lowered.results, strict=True):
                if origin.piece == len(ends):
                    ready = max(ready, self._place(y.buffer).used)
            end, number = self._run(call, device, piece, ready, tuple(after))
            ends.append(end)
            makers.append(number)
            for origin in piece.sources:
                if origin.operand is not None and (x := call.inputs[origin.operand]) is not None:
                    place = self.places[x.buffer]
                    place.used = max(place.used, end)
        self._note_results(call, lowered.results, ends, makers)

    def _note_results(
        self, call: LoggedCall, results: Sequence[Origin], ends: Sequence[int], makers: Sequence[int]
    ) -> None:
        for y, origin in zip(call.outputs, results, strict=True):
            if origin.piece is not None:  # else it is a view of an operand, or a constant
                self._place(y.buffer).made(ends[origin.piece], makers[origin.piece])

    def _run(
        self, call: LoggedCall, device: SimDevice, piece: Piece, ready: int, after: tuple[int, ...]
    ) -> tuple[int, int]:
        device.issued = max(device.issued, self.host_now) + piece.lead
        ready = max(ready, device.issued, device.tail if self.in_order else 0)
        duration = piece.duration
        engine = device.units[piece.time.engine]
        start, end = engine.book(ready, duration)
        device.tail = max(device.tail, end)
        if piece.joules is not None and self.joules is not None:
            self.joules += piece.joules
        if self.keep:
            time, tally = piece.time, self._tally(piece.op, piece.time.engine)
            tally.calls += 1
            tally.seconds += time.seconds
            tally.bound[time.bound] = tally.bound.get(time.bound, 0.0) + time.seconds
            tally.used += time.utilisation * time.seconds
            tally.flops += time.flops
            tally.nbytes += time.bytes.off_chip
            if piece.op != call.op.name:
                tally.inside[call.op.name] = None
            flops, nbytes, seconds = tally.dtypes.get(piece.dtype, (0.0, 0.0, 0.0))
            tally.dtypes[piece.dtype] = flops + time.flops, nbytes + time.bytes.off_chip, seconds + time.seconds
        return end, self._task(
            device.index, engine.name, piece.op, call, start, end, round(piece.time.bytes.off_chip), after
        )

    # On the host.

    def _on_host(self, call: LoggedCall, refused: Refused) -> None:
        self.fallbacks += 1
        ready, after = self.host_now, []
        for x in self.uses.inputs[call.number]:
            place = self._place(x.buffer)
            self._fetch(call, place)
            ready = max(ready, place.host_ready)
            after += [] if place.maker is None else [place.maker]
            place.read = True
        seconds = self._host_seconds(call)
        start, end = self.host.book(ready, picoseconds(seconds))
        self.host_now = end
        number = self._task(-1, HOST, call.op.name, call, start, end, round(call.nbytes), tuple(after))
        for y in call.outputs:
            place = self._place(y.buffer)
            self._drop(place)
            place.on_host, place.host_ready, place.maker = True, end, number
            place.written = place.read = False  # it is where the program can see it
        if self.keep:
            tally = self._tally(call.op.name, HOST)
            tally.calls += 1
            tally.seconds += seconds
            tally.flops += call.flops
            tally.nbytes += call.nbytes
            tally.reasons[f"no {refused.why}: {refused.detail}"] = None

    def _host_seconds(self, call: LoggedCall) -> float:
        """Return launch + max(flops / rate, bytes / bandwidth), by the rates of the host that recorded."""
        rates = self.log.host
        first = next(iter(self.uses.inputs[call.number]), call.outputs[0])
        compute = call.flops / rates.flops_for(first.sig.dtype.name)
        return rates.launch + max(compute, call.nbytes / rates.bandwidth_at(call.nbytes))

    # Moves.

    def _bring(self, call: LoggedCall, buffer: int, ready: int) -> None:
        """Have a buffer on its device."""
        place = self._place(buffer)
        place.read = True
        if place.on_device:
            return
        op = "spill" if place.counted and place.written else "upload"
        place.device_ready, place.maker = self._move(call, place, op, max(ready, place.host_ready))
        place.on_device = True
        if op == "upload":
            self.uploaded += place.nbytes
        else:
            self.spilled += place.nbytes

    def _fetch(self, call: LoggedCall, place: Place) -> None:
        """Have a buffer on the host."""
        if not place.on_host:
            place.host_ready, place.maker = self._move(call, place, "download", place.device_ready)
            place.used = max(place.used, place.host_ready)
            place.on_host = True
            self.downloaded += place.nbytes

    def _move(self, call: LoggedCall, place: Place, op: str, ready: int) -> tuple[int, int]:
        device, description = self.devices[place.device], self.description
        seconds = memory.host_seconds(description, place.nbytes)
        start, end = device.host_link.book(ready, picoseconds(seconds))
        if self.joules is not None and description.power is not None:
            self.joules += place.nbytes * description.power.off_chip
        if self.keep:
            tally = self._tally(op, HOST_LINK)
            tally.calls += 1
            tally.seconds += seconds
            tally.nbytes += place.nbytes
        after = () if place.maker is None else (place.maker,)
        return end, self._task(device.index, HOST_LINK, op, call, start, end, place.nbytes, after)

    def _make_room(self, call: LoggedCall, device: SimDevice, buffers: Sequence[int], scratch: int) -> int:
        """Count what a call needs in memory, evict others until it fits, and return when there is room."""
        places = [self._place(b) for b in buffers]
        for place in places:
            if not place.counted:
                place.counted = True
                device.wanted += place.nbytes
        fresh = sum(p.nbytes for p in places if not p.on_device)
        room, capacity = 0, self.description.off_chip.bytes
        if device.resident + fresh + scratch > capacity:
            own = set(buffers)
            others = [
                (b, p) for b, p in self.places.items() if p.on_device and p.device == device.index and b not in own
            ]
            others.sort(key=lambda pair: (-self.uses.next_after(pair[0], call.number), pair[0]))
            for _, victim in others:
                if device.resident + fresh + scratch <= capacity:
                    break
                if not victim.on_host:
                    victim.host_ready, victim.maker = self._move(call, victim, "spill", victim.device_ready)
                    victim.on_host = True
                    victim.used = max(victim.used, victim.host_ready)
                    self.spilled += victim.nbytes
                room = max(room, victim.used)
                victim.on_device = False
                device.resident -= victim.nbytes
        device.resident += fresh
        return room

    def _drop(self, place: Place) -> None:
        device = self.devices[place.device]
        if place.on_device:
            device.resident -= place.nbytes
            place.on_device = False
        if place.counted:
            device.wanted -= place.nbytes
            place.counted = False

    def _gone(self, buffer: int, number: int) -> None:
        """Forget a buffer; a result that no call has used is what the program wanted, so it is downloaded first."""
        place = self.places.pop(buffer, None)
        if place is None:
            return
        if place.written and not place.read and not place.on_host:
            self._fetch(self.log.calls[min(number, len(self.log.calls) - 1)], place)
        self._drop(place)

    # Collectives.

    def _collective(self, call: LoggedCall) -> None:
        """Run a collective on the links of all its devices at once, or on their buses where there are none."""
        links, ranks = self.description.links, len(call.outputs)
        if not collectives.is_priced(call.op.name):
            self._on_host(call, Refused(Missing.OP, f"{call.op.name}: no formula"))
            return
        by_host = links is None
        engine = HOST_LINK if by_host else LINKS
        links = links or collectives.over_buses(call.op.name, self.description.dma)
        ready, after = 0, []
        for rank, y in enumerate(call.outputs):
            mine = [x.buffer for x in call.inputs[rank : rank + 1] if x is not None]
            device = self.devices[self._place(y.buffer).device]
            room = self._make_room(call, device, list(dict.fromkeys([*mine, y.buffer])), 0)
            device.peak = max(device.peak, device.wanted)
            for buffer in mine:
                self._bring(call, buffer, room)
                place = self.places[buffer]
                ready = max(ready, place.device_ready)
                after += [] if place.maker is None else [place.maker]
            device.issued = max(device.issued, self.host_now) + picoseconds(self.description.launch)
            ready = max(ready, room, device.issued, self._place(y.buffer).used, device.tail if self.in_order else 0)
        given = max((x.sig.nbytes for x in self.uses.inputs[call.number]), default=0)
        made = max(y.sig.nbytes for y in call.outputs)
        seconds = collectives.seconds(call.op.name, links, given, made, ranks)
        involved = [self.devices[self._place(y.buffer).device] for y in call.outputs]
        ways = [d.host_link if by_host else d.links for d in involved]
        # All links of all ranks at once: where one of them is busy, all wait.
        duration = picoseconds(seconds)
        while (later := max(way.earliest(ready, duration) for way in ways)) > ready:
            ready = later
        sent = collectives.bytes_sent(call.op.name, given, made, ranks)
        for y, device, way in zip(call.outputs, involved, ways, strict=True):
            start, end = way.book(ready, duration)
            number = self._task(device.index, engine, call.op.name, call, start, end, round(sent), tuple(after))
            self._place(y.buffer).made(end, number)
            device.tail = max(device.tail, end)
        for x in self.uses.inputs[call.number]:
            self.places[x.buffer].used = max(self.places[x.buffer].used, ready + duration)
        if self.joules is not None and self.description.power is not None:
            power = self.description.power
            self.joules += ranks * sent * (2 * power.off_chip if by_host else power.link)  # out of memory, and into it
        if self.keep:
            tally = self._tally(call.op.name, engine)
            tally.calls += 1
            tally.seconds += seconds
            tally.nbytes += ranks * sent

    def _tally(self, op: str, engine: str) -> Tally:
        return self.tallies.setdefault((op, engine), Tally())

    def _task(
        self,
        device: int,
        engine: str,
        op: str,
        call: LoggedCall,
        start: int,
        end: int,
        nbytes: int,
        after: tuple[int, ...],
    ) -> int:
        self.end = max(self.end, end)
        if not self.keep:
            return 0
        number = len(self.tasks)
        self.tasks.append(
            Task(number, device, engine, op, call.number, start, end, nbytes, tuple(dict.fromkeys(after)))
        )
        return number
