"""What others use: iceoryx2, pyzmq, a pipe, a POSIX message queue. Each as its documents say, in its leanest form.

iceoryx2 and pyzmq are the extra `bench`; what is not installed is left out of the run, and said so.
"""

from __future__ import annotations

import ctypes
import importlib
import os
from importlib.util import find_spec
from multiprocessing.connection import Connection
from typing import Any

import posix_ipc

from latentspeed.tools.bench.ipc_channels import BATCH, RECORD_SIZE, MessageChannel


def is_installed(package: str | None) -> bool:
    """Can this peer run here?"""
    return package is None or find_spec(package) is not None


class PipeChannel(MessageChannel):
    """`multiprocessing.Pipe`: a socket pair of the kernel's. The other side polls it."""

    name = "multiprocessing.Pipe"
    exchanges = 400
    windows = 3

    def create(self) -> None:
        """See Channel. The pair was made before the partner was started."""
        self._connection = Connection(os.dup(self.end.fds["pipe"]))

    def connect(self) -> None:
        """See Channel."""
        connection, poll, receive = self._connection, self._connection.poll, self._connection.recv_bytes
        self.send, self.message, self.many = connection.send_bytes, bytes(RECORD_SIZE), bytes(RECORD_SIZE * BATCH)
        self.receive = lambda _: receive() if poll(0) else None

    def close(self) -> None:
        """See Channel."""
        self._connection.close()


class MessageQueueChannel(MessageChannel):
    """A POSIX message queue: ten messages deep, as Linux allows without privilege."""

    name = "POSIX message queue"
    exchanges = 2_000
    windows = 6
    batch = 64  # 8 KiB is the largest message

    def create(self) -> None:
        """See Channel."""
        queue = posix_ipc.MessageQueue(
            f"/latentspeed-{self.end.name('mq', self.end.side)}",
            posix_ipc.O_CREX,
            max_messages=10,
            max_message_size=self.batch * RECORD_SIZE,
        )
        self._mine = queue

    def connect(self) -> None:
        """See Channel."""
        other = posix_ipc.MessageQueue(f"/latentspeed-{self.end.name('mq', 1 - self.end.side)}")
        take, busy = self._mine.receive, posix_ipc.BusyError
        self._mine.block = False
        self.send, self.message, self.many = other.send, bytes(RECORD_SIZE), bytes(RECORD_SIZE * self.batch)

        def receive(_: Any) -> Any:
            try:
                return take()
            except busy:
                return None

        self.receive = receive

    def close(self) -> None:
        """See Channel."""
        self._mine.close()
        self._mine.unlink()


class ZmqChannel(MessageChannel):
    """pyzmq: a PAIR over a Unix socket, copies of at most a kilobyte, never waiting in the receiver."""

    name = "pyzmq PAIR"
    needs = "zmq"
    exchanges = 200
    windows = 6

    def create(self) -> None:
        """See Channel."""
        zmq: Any = importlib.import_module("zmq")
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.PAIR)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._no_wait, self._again = zmq.NOBLOCK, zmq.Again
        if self.end.side == 0:
            self._socket.bind(self._address)

    @property
    def _address(self) -> str:
        return f"ipc://@latentspeed-{self.end.name('zmq', 0)}"

    def connect(self) -> None:
        """See Channel."""
        if self.end.side == 1:
            self._socket.connect(self._address)
        take, no_wait, again = self._socket.recv, self._no_wait, self._again
        self.send, self.message, self.many = self._socket.send, bytes(RECORD_SIZE), bytes(RECORD_SIZE * BATCH)

        def receive(_: Any) -> Any:
            try:
                return take(no_wait)
            except again:
                return None

        self.receive = receive

    def close(self) -> None:
        """See Channel."""
        self._socket.close()
        self._context.term()


class _Payload(ctypes.Structure):
    _fields_ = [("words", ctypes.c_uint64 * (RECORD_SIZE // 8))]


class IceoryxChannel(MessageChannel):
    """iceoryx2's Python API: publish-subscribe over shared memory; a loaned sample is written, sent, received, read.

    It keeps one small management object of its own in /dev/shm, by design, for whoever uses it next.
    """

    name = "iceoryx2"
    needs = "iceoryx2"
    exchanges = 2_000
    windows = 6
    batch = 0

    def create(self) -> None:
        """See Channel."""
        iox2: Any = importlib.import_module("iceoryx2")
        iox2.set_log_level(iox2.LogLevel.Fatal)
        self._node = iox2.NodeBuilder.new().create(iox2.ServiceType.Ipc)
        services = [self._service(iox2, side) for side in (self.end.side, 1 - self.end.side)]
        self._publisher = services[0].publisher_builder().create()
        self._subscriber = services[1].subscriber_builder().create()
        self._services = services

    def _service(self, iox2: Any, side: int) -> Any:
        return (
            self._node.service_builder(iox2.ServiceName.new(f"latentspeed-{self.end.name('iox2', side)}"))
            .publish_subscribe(_Payload)
            .enable_safe_overflow(False)
            .subscriber_max_buffer_size(1024)
            .open_or_create()
        )

    def connect(self) -> None:
        """See Channel."""
        loan, take, source = self._publisher.loan_uninit, self._subscriber.receive, _Payload()
        sizeof, move = ctypes.sizeof(_Payload), ctypes.memmove
        landed = _Payload()

        def send(_: Any) -> None:
            loan().write_payload(source).send()

        def receive(_: Any) -> Any:
            sample = take()
            if sample is None:
                return None
            move(ctypes.byref(landed), sample.payload(), sizeof)
            sample.delete()
            return landed

        self.send, self.receive = send, receive

    def close(self) -> None:
        """See Channel."""
        for thing in (self._publisher, self._subscriber, *self._services, self._node):
            delete = getattr(thing, "delete", None)
            if delete is not None:
                delete()
