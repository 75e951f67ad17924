"""Messages between a process and its worker: pickles, followed by large buffers.

Sessions stay in the worker that made them; the process holds a `Handle` for each.
"""

from __future__ import annotations

import io
import itertools
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from upscale_onnx.worker.models import is_model, reduced

if TYPE_CHECKING:
    import onnx

_LENGTH = struct.Struct("<Q")


class Handle:
    """Stands for an object in the worker: its number there, and a function to call when the handle is deleted."""

    def __init__(self, number: int, release: Callable[[int], None]) -> None:
        self.number, self._release = number, release

    def __del__(self) -> None:
        self._release(self.number)


class Callback:
    """Stands for a function that must be called in the process it came from: its number there."""

    def __init__(self, number: int) -> None:
        self.number = number


class CallerError(Exception):
    """Stands for an error that a function on the other side raised: the number of the error there."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class ObjectTable:
    """Objects that the other side refers to by number."""

    def __init__(self) -> None:
        self._objects: dict[int, Any] = {}
        self._numbers = itertools.count()

    def add(self, value: Any) -> int:
        """Add `value` and return its number."""
        number = next(self._numbers)
        self._objects[number] = value
        return number

    def __getitem__(self, number: int) -> Any:
        return self._objects[number]

    def take(self, number: int) -> Any:
        """Remove the object with this number and return it."""
        return self._objects.pop(number)

    def discard(self, number: int) -> None:
        """Remove the object with this number, if there is one."""
        self._objects.pop(number, None)


class Channel:
    """Two streams of messages, one in each direction.

    stays: says whether an object is kept here, in `kept`, instead of being sent.
    handle: makes the handle of an object, by number, that is kept on the other side.
    """

    def __init__(
        self, reader: IO[bytes], writer: IO[bytes], stays: Callable[[Any], bool], handle: Callable[[int], Handle]
    ) -> None:
        self._reader, self._writer = reader, writer
        self._stays, self._handle = stays, handle
        self._files: list[str] = []
        self.kept = ObjectTable()

    def send(self, message: object) -> None:
        """Write one message.

        Raises:
            OSError: the other side does not read.
            Exception: the message cannot be pickled; then nothing is written.
        """
        buffers: list[pickle.PickleBuffer] = []
        stream = io.BytesIO()
        _Pickler(stream, self, buffers).dump(message)
        parts = (stream.getbuffer(), *(buffer.raw() for buffer in buffers))
        self._writer.write(_LENGTH.pack(len(parts)))
        for part in parts:
            self._writer.write(_LENGTH.pack(part.nbytes))
            self._writer.write(part)
        self._writer.flush()

    def receive(self) -> Any:
        """Wait for the next message and return it. Raises `EOFError` if the other side is closed."""
        first, *others = [self._exactly(self._length()) for _ in range(self._length())]
        return _Unpickler(io.BytesIO(first), self, others).load()

    def close(self) -> None:
        """Close both streams, and remove files that were sent and not read."""
        for stream in (self._writer, self._reader):
            try:
                stream.close()
            except OSError:  # nobody reads the rest of the buffer any more
                continue
        self.remove_files()

    def remove_files(self) -> None:
        """Remove the files of sent models, if they still exist."""
        while self._files:
            Path(self._files.pop()).unlink(missing_ok=True)

    def _length(self) -> int:
        return int(_LENGTH.unpack(self._exactly(_LENGTH.size))[0])

    def _exactly(self, size: int) -> bytearray:
        data = bytearray(size)
        view = memoryview(data)
        while view:
            count = self._reader.readinto(view)  # type: ignore[attr-defined]
            if not count:
                raise EOFError
            view = view[count:]
        return data

    def reduced(self, model: onnx.ModelProto) -> tuple[Callable[..., onnx.ModelProto], tuple[Any, ...]]:
        """A function and its arguments that rebuild `model`, as pickle wants it."""
        return reduced(model, self._files)

    def reference(self, value: object) -> tuple[str, int] | None:
        """The reference that is pickled in place of `value`, if one of the sides keeps `value`; else None."""
        if isinstance(value, Handle):
            return "yours", value.number
        return ("mine", self.kept.add(value)) if self._stays(value) else None

    def meant(self, reference: tuple[str, int]) -> object:
        """The object that the other side refers to."""
        kind, number = reference
        return self.kept[number] if kind == "yours" else self._handle(number)


class _Pickler(pickle.Pickler):
    def __init__(self, stream: IO[bytes], channel: Channel, buffers: list[pickle.PickleBuffer]) -> None:
        super().__init__(stream, protocol=5, buffer_callback=buffers.append)
        self._channel = channel

    def persistent_id(self, value: object) -> Any:
        return self._channel.reference(value)

    def reducer_override(self, value: object) -> Any:
        return self._channel.reduced(value) if is_model(value) else NotImplemented


class _Unpickler(pickle.Unpickler):
    def __init__(self, stream: IO[bytes], channel: Channel, buffers: list[bytearray]) -> None:
        super().__init__(stream, buffers=buffers)
        self._channel = channel

    def persistent_load(self, reference: Any) -> Any:
        return self._channel.meant(reference)
