"""A remex client in Python, written from src/guide/wire.md with nothing but msgpack and the standard library.

    pip install msgpack
    remex serve --listen tcp://127.0.0.1:7070        # in another terminal
    python client.py tcp://127.0.0.1:7070            # or unix:PATH

Adds two tensors of 100,000 elements on the worker, with its native program "add", and prints what happens:

    connected to /job:worker/task:0 (version 0.1)
    device /job:worker/task:0/device:CPU:0
    context created, program "add" registered
    metadata of output 0: f32[100000]
    the sum of 100000 elements is right: 0.0, 3.0, 6.0, ...
    deleted and closed

Ends with status 0, or with one sentence on stderr and status 1.
"""

import array
import secrets
import select
import socket
import struct
import sys
import time

try:
    import msgpack
except ImportError:
    sys.exit("client.py: the module msgpack is missing: pip install msgpack")

HELLO, WELCOME, REFUSED, HEARTBEAT, PIECE, GOODBYE, METADATA = 1, 2, 3, 4, 5, 6, 8
GET_DEVICES, CREATE_CONTEXT, CLOSE_CONTEXT, REGISTER_FUNCTION = 16, 17, 18, 21
REMOTE_EXECUTE, DELETE_OBJECTS, FETCH_OBJECT, PUT_OBJECT = 23, 25, 26, 27
COMPLETED = 0x80
PIECES, PAYLOAD_CRC, FAILED = 1, 2, 4

HEAD = struct.Struct("<BBHIQIIQQI")  # the crc follows, over these 44 bytes and the header
HEAD_LEN = 48
PIECE_LEN = 256 << 10
MAX_HEADER, MAX_PAYLOAD = 1 << 20, 16 << 30
BEAT, SILENCE, HANDSHAKE = 1.0, 3.0, 5.0  # seconds

DTYPES = "none bool i8 u8 i16 u16 i32 u32 i64 u64 f16 bf16 f32 f64".split()
F32 = DTYPES.index("f32")
CODES = """None Cancelled Unknown InvalidArgument DeadlineExceeded NotFound AlreadyExists PermissionDenied
    ResourceExhausted FailedPrecondition Aborted OutOfRange Unimplemented Internal Unavailable DataLoss Unauthenticated
    RpcCancelled RpcDeadlineExceeded RpcUnavailable RpcUnknown DeviceNotFound TaskNotFound RemoteFunctionAlreadyExists
    MalformedProgram CompilationFailed InvalidDistributedContextId DistributedContextAlreadyExists Overloaded""".split()


class Failure(Exception):
    """What ends the program: one sentence for a person."""


TABLE = list(range(256))
for _ in range(8):
    TABLE = [n >> 1 ^ (0x82F63B78 if n & 1 else 0) for n in TABLE]


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def encode_frame(kind, header=b"", payload_len=0, flags=0, call=0, number=0, ack=0):
    """Head and header of a frame; the payload goes behind them as it is. We send no checksums of payloads."""
    head = HEAD.pack(kind, flags, 0, len(header), payload_len, call, 0, number, ack, 0)
    return head + struct.pack("<I", crc32c(head + header)) + header


def describe(error):
    """An error as a person reads it; it comes as a list, and in the handshake as a map."""
    if isinstance(error, dict):
        error = [error.get(key) for key in ("code", "message", "task", "program")]
    code, message, task, program = error[:4]
    where = ", ".join(f"{what} {name}" for what, name in (("program", program), ("task", task)) if name)
    name = CODES[code] if 0 < code < len(CODES) else f"error {code}"
    return f"{name}: {message}" + (f" ({where})" if where else "")


def show(metadata):
    dtype, shape = metadata
    return f"{DTYPES[dtype]}[{','.join(map(str, shape))}]"


def connect(address):
    scheme, _, rest = address.partition(":")
    host, _, port = rest.removeprefix("//").rpartition(":")
    if scheme not in ("tcp", "unix") or not rest or scheme == "tcp" and not (host and port.isdecimal()):
        raise Failure(f"{address!r} is not an address: write tcp://HOST:PORT or unix:PATH")
    try:
        if scheme == "unix":
            stream = socket.socket(socket.AF_UNIX)
            stream.settimeout(HANDSHAKE)
            stream.connect(rest)
        else:
            stream = socket.create_connection((host.strip("[]"), int(port)), HANDSHAKE)
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except (OSError, OverflowError) as error:
        raise Failure(f"cannot connect to {address}: {error}; is `remex serve` listening there?") from None
    return stream


class Link:
    """A connection after its handshake. Heartbeats are sent whenever it waits."""

    def __init__(self, address):
        self.address = address
        self.stream = connect(address)
        self.sent = self.accepted = self.calls = 0  # our last number, the worker's last number, slots used
        self.replies = {}  # slot: (reply or Failure, payload), of calls that are answered
        self.arriving = {}  # slot: (length, bytes so far, reply), of answers whose payload comes in pieces
        self.on_metadata = lambda call, output, metadata: None
        self.last_sent = self.last_heard = time.monotonic()
        self.name = f"/job:client/task:{secrets.randbelow(1 << 31) + (1 << 31)}"
        self.handshake()
        self.stream.settimeout(SILENCE)

    def handshake(self):
        version = {"major": 0, "minor": 1}
        limits = {"header_bytes": MAX_HEADER, "payload_bytes": MAX_PAYLOAD, "arguments": 1024}
        hello = {"magic": "remex", "version": version, "oldest": version, "incarnation": secrets.randbits(64),
                 "task": self.name, "epoch": 1, "resume": 0, "limits": limits, "credentials": b""}
        self.send(encode_frame(HELLO, msgpack.packb(hello)))
        kind, _, _, header, _, _ = self.read_frame(HANDSHAKE, beat=False)
        answer = msgpack.unpackb(header)
        if kind == REFUSED:
            raise Failure(f"{self.address} refuses to talk: {describe(answer)}")
        if kind != WELCOME:
            raise Failure(f"{self.address} answers Hello with a frame of kind {kind}, not with Welcome")
        self.task, self.version = answer["task"], "{major}.{minor}".format(**answer["version"])

    def send(self, *parts):
        try:
            for part in parts:
                self.stream.sendall(part)
        except OSError as error:
            raise Failure(f"the link to {self.address} is lost: {error}") from None
        self.last_sent = time.monotonic()

    def call(self, kind, request, payload=b""):
        """Sends a call without waiting and gives its slot."""
        slot, self.calls, self.sent = self.calls, self.calls + 1, self.sent + 1
        large = len(payload) > PIECE_LEN
        self.send(encode_frame(kind, msgpack.packb(request), len(payload), PIECES if large else 0,
                               slot, self.sent, self.accepted), b"" if large else payload)
        for offset in range(0, len(payload) if large else 0, PIECE_LEN):
            piece = payload[offset:offset + PIECE_LEN]
            self.send(encode_frame(PIECE, b"", len(piece), 0, slot, offset, self.accepted), piece)
        return slot

    def read(self, n, silence, beat):
        data = bytearray()
        while len(data) < n:
            if beat and time.monotonic() - self.last_sent >= BEAT:
                self.send(encode_frame(HEARTBEAT, ack=self.accepted))
            try:
                if not select.select([self.stream], [], [], BEAT / 4)[0]:
                    if time.monotonic() - self.last_heard > silence:
                        raise Failure(f"the link to {self.address} is lost: nothing came for {silence:.0f} seconds")
                    continue
                part = self.stream.recv(min(n - len(data), 1 << 20))
            except OSError as error:
                raise Failure(f"the link to {self.address} is lost: {error}") from None
            if not part:
                raise Failure(f"{self.address} closed the connection")
            self.last_heard = time.monotonic()
            data += part
        return bytes(data)

    def read_frame(self, silence=SILENCE, beat=True):
        head = self.read(HEAD_LEN, silence, beat)
        kind, flags, _, header_len, payload_len, call, _, number, _, payload_crc = HEAD.unpack(head[:44])
        if header_len > MAX_HEADER or payload_len > MAX_PAYLOAD:
            raise Failure(f"{self.address} sent a frame of {header_len} + {payload_len} bytes, over the limits")
        header = self.read(header_len, silence, beat)
        if crc32c(head[:44] + header) != struct.unpack("<I", head[44:])[0]:
            raise Failure(f"{self.address} sent a frame with a wrong checksum")
        payload = b"" if flags & PIECES else self.read(payload_len, silence, beat)
        if flags & PAYLOAD_CRC and crc32c(payload) != payload_crc:
            raise Failure(f"{self.address} sent a payload with a wrong checksum")
        return kind, flags, call, header, (payload_len if flags & PIECES else payload), number

    def take_frame(self):
        """Reads one frame and keeps what it says."""
        kind, flags, call, header, payload, number = self.read_frame()
        if kind & COMPLETED:
            if number != self.accepted + 1:
                raise Failure(f"{self.address} sent frame number {number} after number {self.accepted}")
            self.accepted = number
            reply = Failure(describe(msgpack.unpackb(header))) if flags & FAILED else msgpack.unpackb(header)
            if flags & PIECES:
                self.arriving[call] = (payload, bytearray(), reply)
            else:
                self.replies[call] = (reply, payload)
        elif kind == PIECE:
            length, data, reply = self.arriving.get(call, (0, b"", None))
            if number != len(data) or not 0 < len(payload) <= length - len(data):
                raise Failure(f"{self.address} sent a piece that does not fit")
            data += payload
            if len(data) == length:
                del self.arriving[call]
                self.replies[call] = (reply, bytes(data))
        elif kind == METADATA:
            output, metadata = msgpack.unpackb(header)
            self.on_metadata(call, output, metadata)
        elif kind == GOODBYE:
            raise Failure(f"{self.address} says goodbye: {describe(msgpack.unpackb(header))}")
        elif kind != HEARTBEAT:
            raise Failure(f"{self.address} sent a frame of kind {kind}, which does not belong here")

    def wait(self, slot):
        """The reply to a call and its payload; heartbeats go out meanwhile."""
        while slot not in self.replies:
            self.take_frame()
        reply, payload = self.replies.pop(slot)
        if isinstance(reply, Failure):
            raise reply
        return reply, payload


def tensor(values):
    """Metadata and little-endian bytes of a vector of f32."""
    data = array.array("f", values)
    if sys.byteorder == "big":
        data.byteswap()
    return [F32, [len(data)]], data.tobytes()


def run(address):
    link = Link(address)
    print(f"connected to {link.task} (version {link.version})")
    (task, _, devices), _ = link.wait(link.call(GET_DEVICES, []))
    for device in devices:
        print(f"device {device}")

    context, program, prefix = 0, 0, secrets.randbits(64)
    tasks = [[link.name, None], [task, address]]
    created = link.call(CREATE_CONTEXT, [context, secrets.randbits(64), 0, prefix, tasks, devices, 600_000, []])
    registered = link.call(REGISTER_FUNCTION, [context, program, "add", "native", None, 0, 0, [], None])
    link.wait(created)
    link.wait(registered)
    print('context created, program "add" registered')

    # Everything else is sent at once: the worker takes it in order.
    n, seconds = 100_000, 60
    a, b, total = ([prefix, local, 0] for local in (1, 2, 3))
    puts = []
    for object_id, values in ((a, range(n)), (b, range(0, 2 * n, 2))):
        metadata, data = tensor(values)
        puts.append(link.call(PUT_OBJECT, [context, object_id, metadata], data))
    execute = [context, program, [a + [0], b + [0]], [total + [True]], [], None, seconds * 1000, []]
    executed = link.call(REMOTE_EXECUTE, execute)
    fetched = link.call(FETCH_OBJECT, [context, total, 0, seconds * 1000])

    seen = {}

    def on_metadata(call, output, metadata):
        if call == executed and metadata and output not in seen:
            seen[output] = metadata
            print(f"metadata of output {output}: {show(metadata)}")

    link.on_metadata = on_metadata
    for put in puts:
        link.wait(put)
    (metadata,), _ = link.wait(executed)
    for output, of_output in enumerate(metadata):
        on_metadata(executed, output, of_output)

    (metadata,), data = link.wait(fetched)
    expected, expected_data = tensor(range(0, 3 * n, 3))
    if metadata != expected or data != expected_data:
        raise Failure(f"the worker's sum {show(metadata)} is wrong, it should be {show(expected)} of 0, 3, 6, ...")
    print(f"the sum of {n} elements is right: 0.0, 3.0, 6.0, ...")

    (failures,), _ = link.wait(link.call(DELETE_OBJECTS, [context, [a, b, total], 1]))
    if failures:
        raise Failure(f"an object was not deleted: {describe(failures[0][1])}")
    link.wait(link.call(CLOSE_CONTEXT, [context]))
    link.stream.close()
    print("deleted and closed")


def main(arguments):
    if len(arguments) != 1:
        sys.exit("usage: python client.py tcp://HOST:PORT|unix:PATH")
    try:
        run(arguments[0])
    except Failure as failure:
        sys.exit(f"client.py: {failure}")
    except (msgpack.UnpackException, ValueError, TypeError, LookupError) as error:
        sys.exit(f"client.py: {arguments[0]} sent a header that is not as the wire says: {error!r}")


if __name__ == "__main__":
    main(sys.argv[1:])
